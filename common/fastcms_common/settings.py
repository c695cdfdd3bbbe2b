"""The settings that every process has, from the environment, checked once at start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

ADDRESS = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}$"


class ProcessSettings(BaseSettings):
    """What any process of the suite is told, by the run command or a deployment. Addresses are `host:port`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    listen: str = Field("127.0.0.1:0", pattern=ADDRESS)
    metrics_listen: str | None = Field(None, pattern=ADDRESS)
    data_dir: Path = Path(".data")
    redis_url: str = "redis://127.0.0.1:6379/0"
    storage_url: str = Field("sqlite:///.data/fastcms.db", pattern=r"^(sqlite|mongodb|mongodb\+srv)://")
    auth_service: str = Field("127.0.0.1:8001", pattern=ADDRESS)
    collections_service: str = Field("127.0.0.1:8002", pattern=ADDRESS)
    admin_service: str = Field("127.0.0.1:8003", pattern=ADDRESS)
    scheduler_service: str = Field("127.0.0.1:8004", pattern=ADDRESS)
    # The key that services prove themselves with to auth-service; 32 bytes in base64url.
    service_key_file: Path | None = None
    app_url: str = Field("http://127.0.0.1:8000", pattern=r"^https?://")
    token_issuer: str = "fastcms"
    # Whether calls to other services share streams; what is served does not depend on it.
    rpc_multiplex: bool = True
    log_format: Literal["console", "json"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    # Seconds that calls in flight get to finish after SIGTERM.
    drain_seconds: float = Field(8.0, ge=0, le=300)


S = TypeVar("S", bound=BaseSettings)


def load(kind: type[S]) -> S:
    """The settings of this process. A bad value ends it with one line on stderr and exit code 2."""
    try:
        return kind()
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper() or "settings"
        stop(f"{name}: {first['msg'].removeprefix('Value error, ')}")


def stop(line: str) -> NoReturn:
    """Ends a process that cannot start as it was told to: one clear line, exit code 2."""
    sys.stderr.write(f"fastcms: {line}\n")
    raise SystemExit(2)
