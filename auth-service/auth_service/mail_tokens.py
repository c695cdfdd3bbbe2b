"""Tokens sent by mail: opaque, URL-safe, hashed at rest, used once, one live per purpose.

A token is base64url of the identity's id (16 bytes) and 24 random bytes. Its hash lies in the identity itself, so using
it and what it does are one step (see `AuthStore.use_mail_token`).
"""

from __future__ import annotations

import hashlib
import os
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from typing import Literal

from auth_service.models import Identity, MailToken
from auth_service.realms import Realm
from auth_service.store import AuthStore
from fastcms_common import times
from fastcms_common.errors import Invalid

Purpose = Literal["password_reset", "verification", "email_change"]
# Contract, section 2.
LIFETIMES: dict[Purpose, timedelta] = {
    "password_reset": timedelta(hours=1),
    "verification": timedelta(hours=24),
    "email_change": timedelta(hours=24),
}
_SECRET = 24


class MailTokens:
    """Makes tokens, and finds out whose they are."""

    def __init__(self, store: AuthStore) -> None:
        self._store = store

    async def issue(self, identity: Identity, purpose: Purpose, email: str) -> str:
        """A token for `email` to prove itself with; the one before for this purpose is void."""
        token = urlsafe_b64encode(uuid.UUID(identity.id).bytes + os.urandom(_SECRET)).rstrip(b"=").decode()
        expires = times.to_text(times.now() + LIFETIMES[purpose])
        await self._store.set_mail_token(
            identity, purpose, MailToken(hash=hash_of(token), expires=expires, email=email)
        )
        return token

    async def holder(self, realm: Realm, purpose: Purpose, token: str) -> tuple[Identity, MailToken]:
        """Whose token it is, without using it. Invalid (TOKEN_INVALID) where it is not good, or not good any more."""
        try:
            data = urlsafe_b64decode(token + "=" * (-len(token) % 4))
            identity_id = str(uuid.UUID(bytes=data[:16]))
        except ValueError:
            raise bad_token() from None
        identity = await self._store.identity(identity_id)
        live = identity.mail_tokens.get(purpose) if identity else None
        if identity is None or live is None or identity.realm != realm.id or identity.disabled:
            raise bad_token()
        if live.hash != hash_of(token) or live.expires <= times.now_text():
            raise bad_token()
        return identity, live


def hash_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def bad_token() -> Invalid:
    """The one answer to a token that is not good (any more)."""
    return Invalid.field("token", "Is not valid, has been used, or has expired.", reason="TOKEN_INVALID")
