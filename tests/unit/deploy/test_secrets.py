"""deploy/make-secrets.sh makes what the processes take."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from auth_service.config import read_master_keys
from fastcms_common.service_tokens import read_key
from fastcms_common.settings import ProcessSettings, load
from tests.unit.deploy.rendering import ROOT


def make(folder: Path, **environment: str) -> str:
    command = [ROOT / "deploy" / "make-secrets.sh", folder]
    path = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    return subprocess.run(
        command, env=path | environment, capture_output=True, text=True, check=True, timeout=30
    ).stdout


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    make(tmp_path / "secrets")
    return tmp_path / "secrets"


def test_it_makes_all_that_the_compose_file_asks_for(secrets: Path) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())

    assert {path.name for path in secrets.iterdir()} == set(compose["secrets"])


def test_the_keys_are_keys(secrets: Path) -> None:
    assert [len(key) for key in read_master_keys(secrets / "master-key")] == [32]
    assert read_key(secrets / "service-key") != (secrets / "master-key").read_bytes()
    # What MongoDB takes for a key: 6 to 1024 characters of base64.
    assert re.fullmatch(r"[A-Za-z0-9+/]{6,1024}", (secrets / "mongodb-key").read_text())


def test_the_urls_are_urls_of_their_own_users(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = set()
    monkeypatch.setenv("REDIS_URL_FILE", str(secrets / "redis-url"))
    for name in ("auth", "collections", "admin", "scheduler"):
        monkeypatch.setenv("STORAGE_URL_FILE", str(secrets / f"storage-url-{name}"))
        settings = load(ProcessSettings)
        storage = urlsplit(settings.storage_url)
        passwords.add(storage.password)
        assert (storage.username, storage.hostname, storage.path) == (name, "mongodb", "/fastcms")
        assert urlsplit(settings.redis_url).password == (secrets / "redis-password").read_text()
    assert len(passwords) == 4


def test_the_folder_is_for_its_owner_and_containers_can_read_the_files(secrets: Path) -> None:
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o444}


def test_a_second_time_nothing_changes(secrets: Path) -> None:
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}

    said = make(secrets)

    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before
    assert "made" not in said


def test_hosts_of_managed_databases_go_into_the_urls(tmp_path: Path) -> None:
    make(tmp_path, MONGODB_HOSTS="a:27017,b:27017", MONGODB_OPTIONS="tls=true", REDIS_HOST="cache:6380")

    assert (tmp_path / "storage-url-auth").read_text().strip().endswith("@a:27017,b:27017/fastcms?tls=true")
    assert (tmp_path / "redis-url").read_text().strip().endswith("@cache:6380/0")
