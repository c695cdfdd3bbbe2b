"""`buf lint`, and `buf breaking` against the last release (before the first one: the last commit). Part of `make lint`.

buf would fetch googleapis from its registry; they are laid out in .build from the installed package instead.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUF = Path(sys.executable).parent / "buf"
GOOGLEAPIS = Path(".build") / "googleapis"


def lay_out_googleapis(root: Path) -> None:
    """The .proto files of google.api and its kind, where buf.yaml in `root` looks for them."""
    shutil.rmtree(root / GOOGLEAPIS, ignore_errors=True)
    package = distribution("googleapis-common-protos")
    for file in package.files or ():
        if file.suffix == ".proto":
            target = root / GOOGLEAPIS / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(package.locate_file(file)), target)


def lay_out_released() -> Path:
    """The protos as they were released, in a folder of their own."""
    described = subprocess.run(
        ["git", "describe", "--tags", "--abbrev=0"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    released = described.stdout.strip() or "HEAD"
    archive = subprocess.run(
        ["git", "archive", released, "protos", "buf.yaml"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    folder = ROOT / ".build" / "released"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subprocess.run(["tar", "--extract", "--directory", folder], input=archive, check=True)
    lay_out_googleapis(folder)
    return folder


def main() -> int:
    lay_out_googleapis(ROOT)
    against = lay_out_released()
    commands = [["lint"], ["breaking", "--against", str(against)]]
    return max(subprocess.run([BUF, *command], cwd=ROOT, check=False).returncode for command in commands)


if __name__ == "__main__":
    sys.exit(main())
