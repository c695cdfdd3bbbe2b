"""What the images are made of: all of each package, and what starts from it. Wheels are built, images are not."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.unit.deploy.rendering import ROOT
from tests.unit.deploy.suite_table import MEMBERS, image_of

SERVICES = sorted({image_of(name).removeprefix("fastcms-") for name in MEMBERS})
DISTRIBUTIONS = ("protos", "common", *SERVICES, "cli")
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def package_of(distribution: str) -> Path:
    metadata = tomllib.loads((ROOT / distribution / "pyproject.toml").read_text())
    (name,) = metadata["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return ROOT / distribution / str(name)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheels")
    built = {}
    for name in DISTRIBUTIONS:
        (path,) = WheelBuilder(str(ROOT / name)).build(directory=str(folder), versions=["standard"])
        built[name] = zipfile.ZipFile(path)
    return built


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_holds_every_file_of_its_package(name: str, wheels: dict[str, zipfile.ZipFile]) -> None:
    package = package_of(name)
    files = {
        str(path.relative_to(package.parent))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert {entry for entry in wheels[name].namelist() if ".dist-info/" not in entry} == files


def test_wheels_hold_what_is_no_code(wheels: dict[str, zipfile.ZipFile]) -> None:
    assert "fastcms/auth/v1/auth.proto" in wheels["protos"].namelist()
    assert "gateway/static/admin/index.html" in wheels["gateway"].namelist()
    assert "auth_service/data/common-passwords.txt.gz" in wheels["auth-service"].namelist()
    assert "auth_service/templates/otp.html" in wheels["auth-service"].namelist()


def test_processes_are_imported_from_their_wheels(wheels: dict[str, zipfile.ZipFile], tmp_path: Path) -> None:
    for wheel in wheels.values():
        wheel.extractall(tmp_path)
    modules = sorted(_started(member.module) for member in MEMBERS.values())
    program = f"""
import importlib, sys
sys.path.insert(0, {str(tmp_path)!r})
for name in {modules!r}:
    importlib.import_module(name)
packages = {[package_of(name).name for name in DISTRIBUTIONS]!r}
ours = [module for name, module in sys.modules.items() if name.partition(".")[0] in packages and module.__file__]
assert len(ours) > 100
assert not [module for module in ours if not module.__file__.startswith({str(tmp_path)!r})]
"""

    subprocess.run([sys.executable, "-P", "-c", program], check=True, timeout=60, cwd=tmp_path)


@pytest.mark.parametrize("of_the_command_line", [False, True])
def test_what_is_taken_out_of_an_image_is_not_missed(of_the_command_line: bool) -> None:
    from_all, from_the_command_line = [
        re.findall(r"(\w+)\*", line) for line in re.findall(r"rm -rf ((?:\w+\* ?)+)", DOCKERFILE)
    ]
    taken_out = from_all + from_the_command_line * of_the_command_line
    modules = [f"fastcms_cli.{file.stem}" for file in (ROOT / "cli" / "fastcms_cli").glob("[a-z]*.py")]
    modules += [f"{package_of(name).name}.maintenance" for name in DISTRIBUTIONS if _has_maintenance(name)]
    if not of_the_command_line:
        modules = [_started(member.module) for member in MEMBERS.values()]
    assert len(modules) > 5
    program = f"""
import importlib, sys
sys.modules |= dict.fromkeys({taken_out!r})
for name in {modules!r}:
    importlib.import_module(name)
from fastcms_cli.progress import bar
with bar("Copying", 2) as advance:
    advance(1)
"""

    subprocess.run([sys.executable, "-P", "-c", program], check=True, timeout=60)


def _started(module: str) -> str:
    """What `python -m` imports."""
    return module if "." in module else f"{module}.__main__"


def _has_maintenance(name: str) -> bool:
    return (package_of(name) / "maintenance.py").exists()


def test_every_service_of_the_suite_is_let_into_the_build() -> None:
    let_in = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))

    assert let_in == {"requirements.lock", *DISTRIBUTIONS}


def test_what_is_installed_is_pinned_and_its_hashes_are_checked() -> None:
    download = re.search(r"pip download (.+?)\n", DOCKERFILE)

    assert download is not None
    assert {"--require-hashes", "--only-binary", "requirements.lock"} <= set(download[1].split())
    # All other installations are from what was downloaded there.
    assert all("--no-index" in line or "pip download" in line for line in _pip_lines() if "pip wheel" not in line)
    assert all("--no-deps" in line for line in _pip_lines() if "pip wheel" in line)


def _pip_lines() -> list[str]:
    return [line for line in DOCKERFILE.splitlines() if "/pip " in line and not line.startswith("#")]


def test_nothing_is_built_or_fetched_in_the_image_that_runs() -> None:
    final = DOCKERFILE.split("FROM ${BASE}\n")[1]

    assert "pip" not in final
    assert "apt" not in final
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert final.index("USER") > final.index("RUN")


@pytest.mark.parametrize("service", SERVICES)
def test_the_scripts_of_an_image_start_and_ask_its_service(service: str, tmp_path: Path) -> None:
    """The step of the Dockerfile that writes them, run as it stands but for the folder."""
    (step,) = re.findall(r"^RUN (module=.+?)\n\n", DOCKERFILE, re.MULTILINE | re.DOTALL)
    script = step.replace("\\\n", "\n").replace("\n &&", " &&").replace("> /app/bin/", f"> {tmp_path}/")
    script = script.replace(
        "chmod 0755 /app/bin/start /app/bin/healthy", f"chmod 0755 {tmp_path}/start {tmp_path}/healthy"
    )

    subprocess.run(["sh", "-ec", script], env={"SERVICE": service, "PATH": "/usr/bin:/bin"}, check=True, timeout=10)

    target = "http://127.0.0.1:8000/health/ready" if service == "gateway" else "127.0.0.1:8000"
    module = service.replace("-", "_")
    assert (tmp_path / "start").read_text() == f"#!/bin/sh\nexec /app/bin/python -P -m {module}\n"
    assert f'-m fastcms_common.probe "${{1:-{target}}}"' in (tmp_path / "healthy").read_text()
    assert (ROOT / service / module / "__main__.py").is_file()
