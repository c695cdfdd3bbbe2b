"""What the environment may say to `fastcms run`, checked before anything is started.

A name that only a service reads (`LOG_LEVEL`, …) is not listed: it reaches every process through the inherited
environment. The lockout and password names are listed, with auth-service's own limits, although it is auth-service that
reads them: a bad one then costs one clear line, before anything has been started.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SCHEMES = {
    "storage_url": ("sqlite", "mongodb", "mongodb+srv"),
    "redis_url": ("redis", "rediss"),
    "smtp_url": ("smtp", "smtps", "smtp+starttls"),
}


class BadStart(Exception):
    """The run cannot start as asked: one line that names the setting, the port or the folder, and what is wrong."""


class Settings(BaseSettings):
    """The supervisor's settings, for `fastcms_common.settings.load`. A variable set to nothing counts as not set."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore", hide_input_in_errors=True)

    host: str = Field("127.0.0.1", alias="FASTCMS_HOST")
    port: int = Field(8000, alias="FASTCMS_PORT", ge=0, le=65535)
    data_dir: Path = Field(Path(".data"), alias="FASTCMS_DATA_DIR")
    admin_email: str | None = Field(None, alias="ADMIN_EMAIL", pattern=r"^[^@\s]+@[^@\s]+$")
    admin_password: SecretStr | None = Field(None, alias="ADMIN_PASSWORD")
    storage_url: SecretStr | None = Field(None, alias="STORAGE_URL")
    redis_url: SecretStr | None = Field(None, alias="REDIS_URL")
    smtp_url: SecretStr | None = Field(None, alias="SMTP_URL")
    setup_token: SecretStr | None = Field(None, alias="SETUP_TOKEN")
    app_url: str | None = Field(None, alias="APP_URL", pattern=r"^https?://[^/\s]+")
    gateway_workers: int = Field(1, alias="GATEWAY_WORKERS", ge=1, le=64)
    trusted_proxies: str = Field("", alias="TRUSTED_PROXIES")

    account_lockout_enabled: bool | None = Field(None, alias="ACCOUNT_LOCKOUT_ENABLED")
    account_lockout_attempts: int | None = Field(None, alias="ACCOUNT_LOCKOUT_ATTEMPTS", ge=1, le=100)
    account_lockout_duration: int | None = Field(None, alias="ACCOUNT_LOCKOUT_DURATION", ge=1, le=604_800)
    password_min_length: int | None = Field(None, alias="PASSWORD_MIN_LENGTH", ge=1, le=128)
    password_max_length: int | None = Field(None, alias="PASSWORD_MAX_LENGTH", ge=16, le=4096)
    password_require_uppercase: bool | None = Field(None, alias="PASSWORD_REQUIRE_UPPERCASE")
    password_require_lowercase: bool | None = Field(None, alias="PASSWORD_REQUIRE_LOWERCASE")
    password_require_digit: bool | None = Field(None, alias="PASSWORD_REQUIRE_DIGIT")
    password_require_special: bool | None = Field(None, alias="PASSWORD_REQUIRE_SPECIAL")
    password_history_count: int | None = Field(None, alias="PASSWORD_HISTORY_COUNT", ge=0, le=24)
    password_block_common: bool | None = Field(None, alias="PASSWORD_BLOCK_COMMON")

    @field_validator(*SCHEMES)
    @classmethod
    def _known_scheme(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None:
            return None
        allowed = SCHEMES[info.field_name or ""]
        try:
            parts = urlsplit(value.get_secret_value())
            host = parts.hostname
        except ValueError as error:
            raise ValueError(f"is not a URL ({error})") from None
        if parts.scheme not in allowed:
            raise ValueError("must start with " + " or ".join(f"{scheme}://" for scheme in allowed))
        if not host and parts.scheme != "sqlite":
            raise ValueError("names no host")
        if parts.scheme == "sqlite" and parts.path.endswith(".db"):
            raise ValueError("names a file: give the folder, where each service has a file of its own")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        for part in filter(None, (item.strip() for item in value.split(","))):
            try:
                ipaddress.ip_network(part, strict=False)
            except ValueError:
                raise ValueError(f"{part!r} is neither an address nor a network such as 10.0.0.0/8") from None
        return value

    @model_validator(mode="after")
    def _whole_admin(self) -> Self:
        if (self.admin_email is None) != (self.admin_password is None):
            raise ValueError("ADMIN_EMAIL and ADMIN_PASSWORD make the first admin together: set both or neither")
        return self
