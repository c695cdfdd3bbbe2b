"""What a password has to be like. The sentences are the seed's, word for word; further ones keep their manner."""

from __future__ import annotations

import gzip
import unicodedata
from functools import cache
from importlib.resources import files

from auth_service import addresses
from auth_service.auth_settings import AuthSettings
from auth_service.passwords import prepare
from fastcms_common.errors import FieldError, Invalid

REASON = "PASSWORD_POLICY"
# A local part shorter than this is in too many good passwords to mean anything.
_TELLING = 4


@cache
def common_passwords() -> frozenset[str]:
    """The passwords that everyone tries first (data/COMMON_PASSWORDS.md tells where they are from)."""
    packed = files("auth_service").joinpath("data", "common-passwords.txt.gz").read_bytes()
    return frozenset(prepare(line) for line in gzip.decompress(packed).decode().split("\n") if line)


def broken_rules(password: str, email: str, settings: AuthSettings) -> list[str]:
    """A sentence for each rule that `password` breaks; none: it is good. Length is counted in code points."""
    password = prepare(password)
    rules = (
        (
            len(password) < settings.password_min_length,
            f"Password must be at least {settings.password_min_length} characters",
        ),
        (
            len(password) > settings.password_max_length,
            f"Password must be at most {settings.password_max_length} characters",
        ),
        (
            settings.password_require_upper and not any(c.isupper() for c in password),
            "Password must contain at least one uppercase letter",
        ),
        (
            settings.password_require_lower and not any(c.islower() for c in password),
            "Password must contain at least one lowercase letter",
        ),
        (
            settings.password_require_number and not any(c.isdecimal() for c in password),
            "Password must contain at least one digit",
        ),
        (
            settings.password_require_special and not any(_is_special(c) for c in password),
            "Password must contain at least one special character",
        ),
        (
            settings.password_block_common and password.lower() in common_passwords(),
            "Password is too common",
        ),
        (_is_address(password, email), "Password must not be the e-mail address or a part of it"),
    )
    return [sentence for broken, sentence in rules if broken]


def check(password: str, email: str, settings: AuthSettings, field: str = "password") -> None:
    """Invalid (PASSWORD_POLICY) with all the sentences that apply."""
    broken = broken_rules(password, email, settings)
    if broken:
        raise Invalid([FieldError(field, sentence) for sentence in broken], detail="; ".join(broken), reason=REASON)


def reused() -> Invalid:
    """The answer to a new password that the history holds."""
    sentence = "Cannot reuse a recent password."
    return Invalid([FieldError("new_password", sentence)], detail=sentence, reason="PASSWORD_REUSED")


def _is_special(character: str) -> bool:
    return unicodedata.category(character)[0] in "PSZ"


def _is_address(password: str, email: str) -> bool:
    whole = addresses.key(email)
    local, _, domain = whole.partition("@")
    lowered = password.lower()
    return lowered in (whole, local, domain) or (len(local) >= _TELLING and whole in lowered)
