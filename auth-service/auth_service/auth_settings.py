"""The settings of category `auth`: what they may be, and which are in force."""

from __future__ import annotations

import msgspec

from auth_service.config import Settings


class AuthSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How people sign in. Contract, section 3."""

    password_auth_enabled: bool = True
    oauth_enabled: bool = True
    otp_enabled: bool = False
    mfa_enabled: bool = False
    password_min_length: int = 8
    password_max_length: int = 128
    password_require_upper: bool = False
    password_require_lower: bool = False
    password_require_number: bool = False
    password_require_special: bool = False
    password_history_count: int = 0
    password_block_common: bool = True
    token_expiry_hours: int = 24
    refresh_token_expiry_days: int = 7
    account_lockout_enabled: bool = True
    account_lockout_attempts: int = 5
    account_lockout_duration: int = 1800


# Where the seed's name in the environment is not the key's.
_ENVIRONMENT = {
    "password_require_upper": "password_require_uppercase",
    "password_require_lower": "password_require_lowercase",
    "password_require_number": "password_require_digit",
}


def first_values(settings: Settings) -> AuthSettings:
    """What the environment says: in force until an admin says otherwise."""
    return AuthSettings(
        **{name: getattr(settings, _ENVIRONMENT.get(name, name)) for name in AuthSettings.__struct_fields__}
    )


class LiveSettings:
    """The settings in force. Read `current` at each use: it changes under a running process."""

    def __init__(self, first: AuthSettings) -> None:
        self.first = first
        self.current = first
