"""What a person wants to know once everything is up."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from fastcms_cli.config import Settings
from fastcms_cli.suite import REDIS, SERVICES, Suite


def banner(settings: Settings, suite: Suite, data_dir: Path, *, seconds: float, dashboard: bool) -> str:
    """The lines to print; `seconds` is what the start took, `dashboard` whether the gateway serves one."""
    rows = [
        ("API", f"{suite.base_url}/api/v1"),
        ("Docs", f"{suite.base_url}/docs"),
        *([("Dashboard", f"{suite.base_url}/admin")] if dashboard else []),
        ("Data", str(data_dir)),
        ("Storage", _storage(settings)),
        ("Redis", _redis(settings, suite)),
        ("gRPC", "  ".join(f"{member.name} {suite.addresses[member.name]}" for member in SERVICES)),
        ("Mail", _mail(settings, data_dir)),
        ("First admin", _first_admin(settings, suite)),
        ("Stop", "Ctrl-C"),
    ]
    lines = [f"  {label:<12} {text}" for label, text in rows]
    return "\n".join(["", f"  FastCMS is up ({seconds:.1f} s)", "", *lines, ""])


def _storage(settings: Settings) -> str:
    if settings.storage_url is None:
        return "SQLite, one file for each service in the data folder"
    return _without_credentials(settings.storage_url.get_secret_value())


def _redis(settings: Settings, suite: Suite) -> str:
    if settings.redis_url is None:
        return f"a private server at {suite.addresses[REDIS]}, its data in the data folder"
    return _without_credentials(settings.redis_url.get_secret_value())


def _mail(settings: Settings, data_dir: Path) -> str:
    if settings.smtp_url is None:
        return f"written to {data_dir / 'outbox'}/*.eml and named in the log (SMTP_URL sends it)"
    return f"sent by {_without_credentials(settings.smtp_url.get_secret_value())}"


def _first_admin(settings: Settings, suite: Suite) -> str:
    if settings.admin_email is not None:
        return f"{settings.admin_email} (made at the first start)"
    header = "with the header X-Setup-Token " if settings.setup_token else ""
    return (
        f"while there is none: POST {suite.base_url}/api/v1/auth/register {header}"
        '{"email": …, "password": …}, or set ADMIN_EMAIL and ADMIN_PASSWORD'
    )


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
