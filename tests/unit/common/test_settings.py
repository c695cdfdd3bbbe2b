"""What a process is told by its environment, and by the files that its environment names."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, SecretStr

from fastcms_common.settings import ProcessSettings, load


class Settings(ProcessSettings):
    """A process with a secret, a number and a list of its own."""

    password: SecretStr | None = None
    attempts: int = 3
    intervals: dict[str, str] = Field(default_factory=dict)
    key_file: Path | None = None


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "secret"
    monkeypatch.setenv("PASSWORD_FILE", str(path))
    return path


def stops_with(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        load(Settings)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_a_setting_is_read_from_the_file_that_its_variable_names(secret: Path) -> None:
    secret.write_text(" s3cret\n")

    password = load(Settings).password

    assert password is not None
    assert password.get_secret_value() == "s3cret"


def test_what_a_file_says_is_checked_as_what_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in {
        "ATTEMPTS": "many",
        "STORAGE_URL": "mongodb://db/fastcms",
        "INTERVALS": '{"a": "5m"}',
    }.items():
        (tmp_path / name).write_text(content)
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))

    assert stops_with(capsys).startswith("fastcms: ATTEMPTS: ")

    (tmp_path / "ATTEMPTS").write_text("7")
    settings = load(Settings)
    assert (settings.attempts, settings.storage_url) == (7, "mongodb://db/fastcms")
    assert settings.intervals == {"a": "5m"}


def test_an_empty_file_is_no_value(secret: Path) -> None:
    secret.write_text("\n")

    assert load(Settings).password is None


def test_an_empty_name_of_a_file_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD_FILE", "")
    monkeypatch.setenv("PASSWORD", "s3cret")

    assert load(Settings).password is not None


def test_a_file_that_is_not_there_ends_the_process_with_one_line(
    secret: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stops_with(capsys) == f"fastcms: PASSWORD_FILE: {secret} cannot be read (No such file or directory)\n"


def test_a_file_that_is_no_text_ends_the_process_with_one_line(
    secret: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret.write_bytes(b"\xff\xfe")

    assert stops_with(capsys) == f"fastcms: PASSWORD_FILE: {secret} is not UTF-8 text\n"


def test_a_setting_in_both_ways_is_refused_and_the_secret_not_told(
    secret: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret.write_text("s3cret")
    monkeypatch.setenv("PASSWORD", "other")

    assert stops_with(capsys) == "fastcms: PASSWORD_FILE: PASSWORD is set too\n"


def test_a_setting_that_is_itself_a_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_FILE", str(tmp_path / "absent"))

    assert load(Settings).key_file == tmp_path / "absent"


@pytest.mark.parametrize(
    "value",
    ["auth-service:8000", "[::1]:8000", "10.0.0.1:8000,10.0.0.2:8001", "[::1]:1,[::2]:2,[fe80::1]:3"],
)
def test_a_service_may_have_several_addresses(value: str, monkeypatch) -> None:
    monkeypatch.setenv("AUTH_SERVICE", value)
    assert ProcessSettings().auth_service == value


@pytest.mark.parametrize("value", ["one:1,two:2", "10.0.0.1:1,[::1]:2", "10.0.0.1:1,", "10.0.0.1:1, 10.0.0.2:2"])
def test_several_addresses_are_of_one_kind(value: str, monkeypatch, capsys) -> None:
    monkeypatch.setenv("AUTH_SERVICE", value)
    with pytest.raises(SystemExit):
        load(ProcessSettings)
    assert capsys.readouterr().err.startswith("fastcms: AUTH_SERVICE: ")
