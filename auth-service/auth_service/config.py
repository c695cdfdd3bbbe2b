"""What auth-service is told at start, by the environment. The names are those of the seeds where they have one."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from auth_service import addresses
from fastcms_common.errors import Invalid
from fastcms_common.settings import ProcessSettings


class Settings(ProcessSettings):
    """Process settings of auth-service. The policy values are first values only: settings/auth overrides them."""

    service_key_file: Path = Field(...)
    # 32 bytes in base64url: encrypts signing keys and second-factor secrets at rest, and authenticates refresh tokens.
    # While it is exchanged the file has two lines: the key in force, and the one that opens still.
    master_key_file: Path

    # Make the first admin at start, where there is none.
    admin_email: str | None = None
    admin_password: SecretStr | None = None
    # Where set, the first registration has to bring it along.
    setup_token: SecretStr | None = None

    password_auth_enabled: bool = True
    oauth_enabled: bool = True
    otp_enabled: bool = False
    mfa_enabled: bool = False
    password_min_length: int = Field(8, ge=1, le=128)
    password_max_length: int = Field(128, ge=16, le=4096)
    password_require_uppercase: bool = False
    password_require_lowercase: bool = False
    password_require_digit: bool = False
    password_require_special: bool = False
    password_history_count: int = Field(0, ge=0, le=24)
    password_block_common: bool = True
    token_expiry_hours: int = Field(24, ge=1, le=720)
    refresh_token_expiry_days: int = Field(7, ge=1, le=365)
    account_lockout_enabled: bool = True
    account_lockout_attempts: int = Field(5, ge=1, le=100)
    account_lockout_duration: int = Field(1800, ge=1, le=604_800)

    # Where mail goes: smtp://[user:password@]host[:port][?starttls=auto|required|off], or smtps://… for TLS from the
    # start. Without it mails are written into `outbox_dir`.
    smtp_url: SecretStr | None = None
    outbox_dir: Path | None = None
    mail_from: str | None = None

    # Days after which a session ends however often it is refreshed.
    session_absolute_days: int = Field(90, ge=1, le=3650)
    # Threads that compute password hashes; 0: as many as there are cores.
    password_threads: int = Field(0, ge=0, le=64)
    # Hashes that may wait for a thread before a caller is told to come back.
    password_queue: int = Field(128, ge=1, le=10_000)

    @field_validator("mail_from")
    @classmethod
    def _sender_can_be_mailed_from(cls, text: str | None) -> str | None:
        try:
            return text and addresses.sender(text)
        except Invalid:
            raise ValueError("has no address that mail can be from") from None

    @model_validator(mode="after")
    def _admin_is_whole(self) -> Settings:
        if (self.admin_email is None) != (self.admin_password is None):
            raise ValueError("ADMIN_EMAIL and ADMIN_PASSWORD go together")
        if self.password_min_length > self.password_max_length:
            raise ValueError("PASSWORD_MIN_LENGTH is above PASSWORD_MAX_LENGTH")
        return self


def read_master_keys(path: Path) -> list[bytes]:
    """The keys that the file holds, one a line, 32 bytes in base64url. OSError or ValueError where it does not."""
    keys = [urlsafe_b64decode(text + "=" * (-len(text) % 4)) for text in path.read_text("ascii").split()]
    for key in keys or [b""]:
        if len(key) != 32:
            raise ValueError(f"{path} holds {len(key)} bytes, not 32")
    return keys


def sender_of(settings: Settings) -> str:
    """Whom mails are from: MAIL_FROM, or an address at the host of APP_URL."""
    return settings.mail_from or f"FastCMS <no-reply@{urlsplit(settings.app_url).hostname or 'localhost'}>"
