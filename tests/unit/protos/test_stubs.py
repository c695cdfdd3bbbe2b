"""The committed stubs are what the protos say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROTOS = Path(__file__).parents[3] / "protos"


def stubs(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*_pb2*.py*") if path.is_file()}


def test_generating_the_stubs_anew_changes_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, PROTOS / "generate.py", tmp_path], check=True)
    generated = stubs(tmp_path)
    committed = {name: text for name, text in stubs(PROTOS).items() if "__pycache__" not in name}
    assert generated.keys() == committed.keys()
    assert [name for name, text in generated.items() if text != committed[name]] == []


def test_the_protos_pass_buf() -> None:
    done = subprocess.run([sys.executable, PROTOS / "lint.py"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
