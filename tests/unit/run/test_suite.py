"""The wiring: which process is told what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcms_cli.config import Settings
from fastcms_cli.data_folder import DataFolder
from fastcms_cli.processes import ProcessSpec
from fastcms_cli.suite import SERVICES, Suite, plan, storage_url

PRIVATE = {
    "ADMIN_EMAIL": "root@example.com",
    "ADMIN_PASSWORD": "hunter22",
    "SETUP_TOKEN": "sesame",
    "SMTP_URL": "smtp://user:hunter2@mail",
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    folder = DataFolder(tmp_path)
    yield folder
    folder.close()


def lay_out(folder: DataFolder, **environment: object) -> Suite:
    return plan(Settings(**environment), folder, listener_fd=99, port=8000)  # type: ignore[arg-type]


def by_name(suite: Suite) -> dict[str, ProcessSpec]:
    return {spec.name: spec for spec in suite.specs}


def test_every_process_is_told_where_every_service_is(folder: DataFolder) -> None:
    suite = lay_out(folder)
    for name, spec in by_name(suite).items():
        if name == "redis":
            continue
        for service in SERVICES:
            assert spec.environment[str(service.target)] == suite.addresses[service.name]
        assert spec.environment["REDIS_URL"] == suite.redis_url
        assert spec.environment["APP_URL"] == "http://127.0.0.1:8000"


def test_no_two_processes_share_an_address(folder: DataFolder) -> None:
    suite = lay_out(folder)
    addresses = [*suite.addresses.values(), *suite.metrics.values()]
    assert len(addresses) == len(set(addresses))


def test_only_auth_service_inherits_the_secrets_that_it_alone_reads(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in PRIVATE.items():
        monkeypatch.setenv(name, value)
    for name, spec in by_name(lay_out(folder)).items():
        assert {key: spec.environment.get(key) for key in PRIVATE} == (
            PRIVATE if name == "auth-service" else dict.fromkeys(PRIVATE)
        )
        assert ("MASTER_KEY_FILE" in spec.environment) == (name == "auth-service")


def test_what_else_the_environment_says_reaches_every_service(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD_MIN_LENGTH", "12")
    monkeypatch.setenv("LOG_LEVEL", "debug")
    monkeypatch.setenv("LISTEN", "0.0.0.0:1")
    for name, spec in by_name(lay_out(folder)).items():
        if name != "redis":
            assert (spec.environment["PASSWORD_MIN_LENGTH"], spec.environment["LOG_LEVEL"]) == ("12", "debug")
            assert spec.environment.get("LISTEN") != "0.0.0.0:1"


def test_a_redis_that_is_given_is_used_and_none_is_started(folder: DataFolder) -> None:
    suite = lay_out(folder, REDIS_URL="redis://cache:6379/3")
    assert "redis" not in by_name(suite)
    assert suite.redis_url == "redis://cache:6379/3"


def test_the_gateway_alone_has_the_listening_socket_and_stops_first(folder: DataFolder) -> None:
    specs = by_name(lay_out(folder, GATEWAY_WORKERS="3"))
    assert [name for name, spec in specs.items() if spec.descriptors] == ["gateway"]
    assert specs["gateway"].environment["LISTEN_FD"] == "99"
    assert specs["gateway"].environment["GATEWAY_WORKERS"] == "3"
    ranks = {name: spec.stop_rank for name, spec in specs.items()}
    assert ranks["gateway"] < ranks["scheduler-worker"] < ranks["auth-service"] < ranks["redis"]


def test_a_storage_that_is_given_is_told_to_every_service_as_it_is(folder: DataFolder) -> None:
    url = "mongodb://u:p@a:1,b:2/shop?replicaSet=rs0"
    specs = by_name(lay_out(folder, STORAGE_URL=url))
    assert {specs[member.name].environment["STORAGE_URL"] for member in SERVICES} == {url}
    assert "STORAGE_URL" not in specs["gateway"].environment


def test_without_a_storage_url_each_service_has_a_file_in_the_data_folder(folder: DataFolder) -> None:
    assert storage_url(Settings(), folder, "auth") == f"sqlite://{folder.path}/auth.db"
