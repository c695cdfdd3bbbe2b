"""The one key that everything secret at rest hangs on, and what is derived from it."""

from __future__ import annotations

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE = 12


class MasterKey:
    """32 bytes. Every use has a key of its own (HKDF-SHA256, RFC 5869), so no two uses can be played off."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("a master key has 32 bytes")
        self._key = key
        self._sealer = AESGCM(self.derive("at-rest"))

    def derive(self, purpose: str) -> bytes:
        """The 32-byte key for `purpose`, the same on every replica."""
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"fastcms:" + purpose.encode()).derive(self._key)

    def seal(self, secret: bytes, owner: str) -> str:
        """`secret` under AES-256-GCM, as base64url. Only `unseal` with the same `owner` opens it again."""
        nonce = os.urandom(_NONCE)
        return urlsafe_b64encode(nonce + self._sealer.encrypt(nonce, secret, owner.encode())).decode()

    def unseal(self, sealed: str, owner: str) -> bytes:
        """What was sealed for `owner`. ValueError under another master key, for another owner, or if it was altered."""
        data = urlsafe_b64decode(sealed)
        try:
            return self._sealer.decrypt(data[:_NONCE], data[_NONCE:], owner.encode())
        except InvalidTag:
            raise ValueError(f"the secret of {owner} does not open with this master key") from None
