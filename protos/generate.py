"""Generate the stubs beside the .proto files: `make proto`.

    python protos/generate.py [folder]

With a folder the stubs go there instead, which is how a test finds out whether the committed ones are stale.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

PROTOS = Path(__file__).parent


def generate(into: Path) -> None:
    """Messages, services and their types for every .proto file. Raises CalledProcessError where one is wrong."""
    names = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    outputs = [f"--{kind}_out={into}" for kind in ("python", "grpc_python")]
    outputs += [f"--{kind}_out=quiet:{into}" for kind in ("mypy", "mypy_grpc")]
    googleapis = distribution("googleapis-common-protos").locate_file("")
    # The plugins for the types stand beside the interpreter, which need not be on the path.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"-I{googleapis}", *outputs, *names],
        check=True,
        env=os.environ | {"PATH": path},
    )


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else PROTOS)
