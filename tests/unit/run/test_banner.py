"""What a person is told when everything is up."""

from __future__ import annotations

from pathlib import Path

from fastcms_cli.banner import banner
from fastcms_cli.config import Settings
from fastcms_cli.suite import SERVICES, Suite

SUITE = Suite(
    specs=(),
    base_url="http://127.0.0.1:8000",
    redis_url="redis://:secret@127.0.0.1:20330/0",
    addresses={member.name: "127.0.0.1:20320" for member in SERVICES} | {"redis": "127.0.0.1:20330"},
    metrics={},
)


def tell(*, dashboard: bool = False, **environment: str) -> str:
    settings = Settings(**environment)  # type: ignore[arg-type]
    return banner(settings, SUITE, Path("/data"), seconds=3.21, dashboard=dashboard)


def test_it_says_where_everything_is() -> None:
    text = tell()
    for part in ("up (3.2 s)", "http://127.0.0.1:8000/api/v1", "/docs", "/data", "127.0.0.1:20330", "/data/outbox"):
        assert part in text
    for member in SERVICES:
        assert member.name in text


def test_it_names_the_dashboard_only_where_there_is_one() -> None:
    assert "http://127.0.0.1:8000/admin" in tell(dashboard=True)
    assert "Dashboard" not in tell()


def test_it_says_how_to_make_the_first_admin() -> None:
    assert "POST http://127.0.0.1:8000/api/v1/auth/register" in tell()
    assert "X-Setup-Token" not in tell()
    assert "X-Setup-Token" in tell(SETUP_TOKEN="sesame")
    assert "root@example.com" in tell(ADMIN_EMAIL="root@example.com", ADMIN_PASSWORD="hunter2")


def test_it_shows_no_secret() -> None:
    text = tell(
        ADMIN_EMAIL="root@example.com",
        ADMIN_PASSWORD="hunter2",
        SETUP_TOKEN="hunter2",
        STORAGE_URL="mongodb://root:hunter2@db:27017/cms?x=hunter2",
        REDIS_URL="redis://:hunter2@cache:6379/1",
        SMTP_URL="smtp://post:hunter2@mail:587",
    )
    assert "hunter2" not in text
    for host in ("db:27017", "cache:6379", "mail:587"):
        assert host in text
