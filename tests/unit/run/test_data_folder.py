"""The data folder: its lock, its secrets, its run file."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from fastcms_cli import data_folder
from fastcms_cli.config import BadStart
from fastcms_cli.data_folder import DataFolder


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_folder, "LOCK_PATIENCE", 0.0)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "a" / "data")
    assert mode(folder.path) == 0o700
    assert mode(folder.folder("outbox")) == 0o700
    folder.close()


def test_a_relative_folder_is_told_to_others_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = DataFolder(Path("data"))
    assert folder.path == tmp_path / "data"
    folder.close()


def test_a_second_run_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    first = DataFolder(tmp_path)
    with pytest.raises(BadStart, match="is in use by another run"):
        DataFolder(tmp_path)
    first.close()
    DataFolder(tmp_path).close()


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_what_is_no_folder_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadStart, match="no folder to write in"):
        DataFolder(tmp_path / name)


def test_a_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    path = folder.secret("master.key")
    text = path.read_text()
    assert mode(path) == 0o600
    assert len(base64.urlsafe_b64decode(text + "=")) == 32
    assert folder.secret("master.key").read_text() == text
    assert folder.secret("service.key").read_text() != text
    folder.close()


def test_a_secret_that_a_crash_left_half_written_is_not_used(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    (folder.folder("secrets") / "master.key.new").write_text("half")
    assert len(folder.secret("master.key").read_text()) == 43
    folder.close()


def test_the_run_file_is_for_its_owner_alone_and_goes_with_the_run(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.write_run_file({"pid": 1})
    folder.write_run_file({"pid": 2})
    assert json.loads(folder.run_file.read_text()) == {"pid": 2}
    assert mode(folder.run_file) == 0o600
    folder.close()
    assert not folder.run_file.exists()
