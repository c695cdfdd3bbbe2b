"""The gateway's settings."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from fastcms_common.settings import load
from gateway.config import Settings


def test_lists_are_comma_separated():
    settings = Settings(trusted_proxies="10.0.0.0/8, ::1", cors_origins="https://a.example, http://b.example:8080")
    assert [str(network) for network in settings.proxies] == ["10.0.0.0/8", "::1/128"]
    assert settings.origins == ["https://a.example", "http://b.example:8080"]
    assert Settings().proxies == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trusted_proxies", "10.0.0.0/40"),
        ("trusted_proxies", "proxy.example"),
        ("cors_origins", "example.com"),
        ("cors_origins", "https://example.com/path"),
        ("gateway_workers", 0),
        ("max_body_bytes", 1),
        ("listen", "nowhere"),
    ],
)
def test_a_bad_value_is_refused(name: str, value: object):
    with pytest.raises(ValidationError):
        Settings(**{name: value})


def test_a_bad_value_stops_the_process_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("TRUSTED_PROXIES", "everyone")
    with pytest.raises(SystemExit) as stopped:
        load(Settings)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("fastcms: TRUSTED_PROXIES: ")
