"""The settings that every process has, from the environment, checked once at start."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

_V4, _V6 = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}:[0-9]{1,5}", r"\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}"
# Of a service: a name that stands for all replicas, or IP addresses of one kind separated by commas.
ADDRESSES = rf"^(?:(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{{1,5}}|{_V4}(?:,{_V4})+|{_V6}(?:,{_V6})+)$"
ADDRESS = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}$"


class BadSettingFile(ValueError):
    """A file that a `*_FILE` variable names cannot be used; the text begins with that variable."""


class FileSettings(EnvSettingsSource):
    """`REDIS_URL_FILE=/run/secrets/redis-url` says where REDIS_URL stands, and so for every setting.

    A secret in the environment is seen by whoever may inspect the process or its container; one in a file is not.
    White space around the content does not count, and an empty file is no value, as an empty variable is none. Raises
    BadSettingFile where a file cannot be read, and where a setting is given in both ways.
    """

    def _load_env_vars(self) -> Mapping[str, str | None]:
        variables = {name.lower(): value for name, value in os.environ.items() if value}
        contents: dict[str, str | None] = {}
        for name in self.settings_cls.model_fields:
            path = variables.get(f"{name}_file")
            if path is None:
                continue
            if name in variables:
                raise BadSettingFile(f"{name.upper()}_FILE: {name.upper()} is set too")
            content = _content(f"{name}_file".upper(), path)
            if content:
                contents[name] = content
        return contents


def _content(variable: str, path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise BadSettingFile(f"{variable}: {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BadSettingFile(f"{variable}: {path} is not UTF-8 text") from error


class EnvironmentSettings(BaseSettings):
    """Settings from the environment. Each name may have `_FILE` at its end, and then names a file that holds the
    value."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, FileSettings(settings_cls)


class ProcessSettings(EnvironmentSettings):
    """What any process of the suite is told, by the run command or a deployment. Addresses are `host:port`; a service
    may have several, by a name that stands for them or written down with commas between."""

    listen: str = Field("127.0.0.1:0", pattern=ADDRESS)
    metrics_listen: str | None = Field(None, pattern=ADDRESS)
    data_dir: Path = Path(".data")
    redis_url: str = "redis://127.0.0.1:6379/0"
    storage_url: str = Field("sqlite:///.data/fastcms.db", pattern=r"^(sqlite|mongodb|mongodb\+srv)://")
    auth_service: str = Field("127.0.0.1:8001", pattern=ADDRESSES)
    collections_service: str = Field("127.0.0.1:8002", pattern=ADDRESSES)
    admin_service: str = Field("127.0.0.1:8003", pattern=ADDRESSES)
    scheduler_service: str = Field("127.0.0.1:8004", pattern=ADDRESSES)
    # The key that services prove themselves with to auth-service; 32 bytes in base64url.
    service_key_file: Path | None = None
    # Mutual TLS with the other services (PEM): this process's certificate chain, its key, and the authorities whose
    # certificates are believed. All three, or none for plaintext. Read again when they change.
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_ca_file: Path | None = None
    # Where traces go, by OTLP over HTTP; without it there are none. The SDK reads it, and OTEL_* beside it, by itself.
    otel_exporter_otlp_endpoint: str | None = Field(None, pattern=r"^https?://")
    app_url: str = Field("http://127.0.0.1:8000", pattern=r"^https?://")
    token_issuer: str = "fastcms"
    # Whether calls to other services share streams; what is served does not depend on it.
    rpc_multiplex: bool = True
    log_format: Literal["console", "json"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    # Seconds after SIGTERM in which calls are still taken, until all who call have heard of it.
    leaving_seconds: float = Field(1.0, ge=0, le=60)
    # Seconds that calls in flight get to finish after that.
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
    except BadSettingFile as problem:
        stop(str(problem))


def stop(line: str) -> NoReturn:
    """Ends a process that cannot start as it was told to: one clear line, exit code 2."""
    sys.stderr.write(f"fastcms: {line}\n")
    raise SystemExit(2)
