"""Refresh tokens: opaque to clients, hashed at rest, each the root of its own successor.

A token is base64url of: session id (16 bytes), generation (4), secret (32), tag (16). The tag is an HMAC under a key of
ours, so what is old can be told from what was made up, and no guess costs a look-up. The first secret is random, each
further one an HMAC of the token before: whoever presents a token twice can be given the same successor without its
being stored anywhere. Storage knows SHA-256 hashes only.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from fastcms_common.errors import Unauthenticated

_SECRET = 32
_TAG = 16
_LENGTH = 16 + 4 + _SECRET + _TAG


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A genuine token: one that we made, whatever has become of it since."""

    session_id: str
    generation: int
    secret: bytes
    text: str

    @property
    def hash(self) -> str:
        """What is kept of it."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class RefreshTokens:
    """Makes refresh tokens with the first of the keys, and recognises those made with any."""

    def __init__(self, *keys: bytes) -> None:
        self._keys = keys

    def first(self, session_id: str) -> RefreshToken:
        """The first token of a new session."""
        return self._token(self._keys[0], session_id, 1, os.urandom(_SECRET))

    def successors(self, token: RefreshToken) -> list[RefreshToken]:
        """The tokens that may follow `token`: the one that does, and those that a replica with another first key would
        have put in its place."""
        return [
            self._token(key, token.session_id, token.generation + 1, _mac(key, b"next", token.text.encode()))
            for key in self._keys
        ]

    def parse(self, text: str) -> RefreshToken:
        """The token that `text` is. Unauthenticated where we never made it."""
        try:
            data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            raise invalid() from None
        if len(data) != _LENGTH or not self._made(data[:-_TAG], data[-_TAG:]):
            raise invalid()
        session_id = str(uuid.UUID(bytes=data[:16]))
        token = RefreshToken(session_id, int.from_bytes(data[16:20]), data[20 : 20 + _SECRET], _encode(data))
        if not hmac.compare_digest(token.text.encode(), text.encode()):
            raise invalid()
        return token

    def _made(self, body: bytes, tag: bytes) -> bool:
        return any(hmac.compare_digest(tag, _tag(key, body)) for key in self._keys)

    def _token(self, key: bytes, session_id: str, generation: int, secret: bytes) -> RefreshToken:
        body = uuid.UUID(session_id).bytes + generation.to_bytes(4) + secret
        return RefreshToken(session_id, generation, secret, _encode(body + _tag(key, body)))


def invalid() -> Unauthenticated:
    """The one answer to any refresh token that is not good (any more)."""
    return Unauthenticated("The refresh token is not valid. Sign in again.", reason="REFRESH_TOKEN_INVALID")


def _tag(key: bytes, body: bytes) -> bytes:
    return _mac(key, b"tag", body)[:_TAG]


def _mac(key: bytes, label: bytes, data: bytes) -> bytes:
    return hmac.new(key, label + b":" + data, hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
