"""What the environment may say: a bad value is one line that names it, and ends the run with exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from auth_service.config import Settings as AuthSettings
from fastcms_cli.config import Settings
from fastcms_common.settings import load

NAMES = [str(field.alias) for field in Settings.model_fields.values()]


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_an_empty_environment_means_the_documented_defaults() -> None:
    settings = load(Settings)
    assert (settings.host, settings.port, settings.data_dir) == ("127.0.0.1", 8000, Path(".data"))
    assert settings.gateway_workers == 1
    assert settings.storage_url is None
    assert settings.redis_url is None


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "")
    assert load(Settings) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("FASTCMS_PORT", "web", "integer"),
        ("FASTCMS_PORT", "65536", "65535"),
        ("FASTCMS_PORT", "-1", "0"),
        ("GATEWAY_WORKERS", "0", "1"),
        ("GATEWAY_WORKERS", "many", "integer"),
        ("STORAGE_URL", "postgres://db", "must start with sqlite:// or mongodb://"),
        ("STORAGE_URL", "mongodb://", "names no host"),
        ("STORAGE_URL", "mongodb://[::1", "is not a URL"),
        ("STORAGE_URL", "sqlite:///data/all.db", "names a file"),
        ("REDIS_URL", "localhost:6379", "must start with redis://"),
        ("SMTP_URL", "mail.example.com", "must start with smtp://"),
        ("APP_URL", "example.com", "pattern"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, proxy", "'proxy' is neither an address nor a network"),
        ("ACCOUNT_LOCKOUT_ENABLED", "perhaps", "boolean"),
        ("ACCOUNT_LOCKOUT_ATTEMPTS", "0", "1"),
        ("ACCOUNT_LOCKOUT_DURATION", "half an hour", "integer"),
        ("PASSWORD_MIN_LENGTH", "-8", "1"),
        ("PASSWORD_REQUIRE_DIGIT", "2", "boolean"),
        ("PASSWORD_HISTORY_COUNT", "-1", "0"),
        ("ADMIN_EMAIL", "root", "pattern"),
    ],
)
def test_a_bad_value_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, complaint: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        load(Settings)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fastcms: {name}: ")
    assert complaint in line


POLICY = [name for name in Settings.model_fields if name.startswith(("account_lockout_", "password_"))]


@pytest.mark.parametrize("name", POLICY)
def test_the_limits_of_a_policy_setting_are_those_of_auth_service(name: str) -> None:
    assert Settings.model_fields[name].metadata == AuthSettings.model_fields[name].metadata


@pytest.mark.parametrize("name", ["ADMIN_EMAIL", "ADMIN_PASSWORD"])
def test_half_an_admin_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setenv(name, "root@example.com")
    with pytest.raises(SystemExit):
        load(Settings)
    assert "ADMIN_EMAIL and ADMIN_PASSWORD" in capsys.readouterr().err


def test_a_password_in_a_bad_url_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss+tls://:hunter2@cache:6379")
    with pytest.raises(SystemExit):
        load(Settings)
    assert "hunter2" not in capsys.readouterr().err


def test_secrets_are_not_in_the_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_EMAIL", "root@example.com")
    monkeypatch.setenv("ADMIN_PASSWORD", "hunter2")
    monkeypatch.setenv("STORAGE_URL", "mongodb://root:hunter2@db")
    assert "hunter2" not in repr(load(Settings))
