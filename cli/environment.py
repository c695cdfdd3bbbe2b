"""Make or refresh the virtual environment. `make` runs this before anything is installed: standard library only.

    python cli/environment.py run|dev

`run` installs what requirements.lock pins, `dev` what requirements-dev.lock pins (which holds all of the former), and
then the distributions of this repository, editable. A stamp in the environment names the hash of all that went in,
so that a second call costs nothing and a changed pin is installed. Written so that a Python too old to be used can
still read it and say so.
"""

# ruff: noqa: UP032

import fcntl
import hashlib
import os
import subprocess
import sys

OLDEST = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
LOCKS = {"run": "requirements.lock", "dev": "requirements-dev.lock"}
DISTRIBUTIONS = (
    "protos",
    "common",
    "gateway",
    "auth-service",
    "collections-service",
    "admin-service",
    "scheduler-service",
    "cli",
)


def main(kind):
    if sys.version_info < OLDEST:
        found = ".".join(str(part) for part in sys.version_info[:3])
        return stop("Python 3.11 or newer is needed, this is {}: name another one with PYTHON=".format(found))
    # Two starts at once on a fresh clone: one installs, the other waits for it. The lock goes with this process.
    fcntl.flock(os.open(ROOT, os.O_RDONLY), fcntl.LOCK_EX)
    if stamp("dev") == digest("dev") or (kind == "run" and stamp("run") == digest("run")):
        return 0
    return install(kind)


def install(kind):
    """Install into the environment, made first where it is missing or belongs to another interpreter."""
    forget_stamps()
    if interpreter_of_venv() != sys.version_info[:2]:
        say("making a virtual environment in .venv")
        if run(sys.executable, "-m", "venv", "--clear", VENV):
            return stop("the virtual environment cannot be made (on Debian and Ubuntu: apt install python3-venv)")
    say("installing {} (once; a minute or so)".format(LOCKS[kind]))
    if pip("--require-hashes", "--no-deps", "-r", os.path.join(ROOT, LOCKS[kind])):
        return stop("pip could not install what {} pins".format(LOCKS[kind]))
    editables = [argument for name in DISTRIBUTIONS for argument in ("-e", os.path.join(ROOT, name))]
    if pip("--no-deps", "--no-build-isolation", *editables):
        return stop("pip could not install the distributions of this repository")
    with open(stamp_path(kind), "w") as file:
        file.write(digest(kind))
    return 0


def digest(kind):
    """What the environment depends on: the interpreter, the pins, the metadata of our own distributions."""
    value = hashlib.sha256(repr((sys.base_prefix, sys.version_info[:2], ROOT)).encode())
    for name in [LOCKS[kind]] + [os.path.join(name, "pyproject.toml") for name in DISTRIBUTIONS]:
        with open(os.path.join(ROOT, name), "rb") as file:
            value.update(file.read())
    return value.hexdigest()


def stamp_path(kind):
    return os.path.join(VENV, "installed-" + kind)


def stamp(kind):
    try:
        with open(stamp_path(kind)) as file:
            return file.read()
    except OSError:
        return None


def forget_stamps():
    """An installation that is cut short must not look like one that was finished."""
    for kind in LOCKS:
        if os.path.exists(stamp_path(kind)):
            os.remove(stamp_path(kind))


def interpreter_of_venv():
    """(major, minor) of the Python in the environment; None where there is none that runs."""
    try:
        answer = subprocess.check_output([PYTHON, "-c", "import sys; print(*sys.version_info[:2])"])
    except (OSError, subprocess.CalledProcessError):
        return None
    major, minor = answer.split()
    return int(major), int(minor)


def pip(*arguments):
    return run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *arguments)


def run(*command):
    return subprocess.call(command, stdin=subprocess.DEVNULL)


def say(line):
    sys.stderr.write("fastcms: {}\n".format(line))
    sys.stderr.flush()


def stop(line):
    say(line)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
