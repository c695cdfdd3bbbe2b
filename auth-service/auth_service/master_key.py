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
    """32 bytes. Every use has a key of its own (HKDF-SHA256, RFC 5869), so no two uses can be played off.

    While it is being exchanged there are further ones behind the first: those are good for opening alone.
    """

    def __init__(self, *keys: bytes) -> None:
        if not keys or any(len(key) != 32 for key in keys):
            raise ValueError("a master key has 32 bytes")
        self._keys = keys
        self._sealers = [AESGCM(key) for key in self.derive("at-rest")]

    def derive(self, purpose: str) -> list[bytes]:
        """The 32-byte keys for `purpose`, the same on every replica; the first is the one in force."""
        info = b"fastcms:" + purpose.encode()
        return [HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key) for key in self._keys]

    def seal(self, secret: bytes, owner: str) -> str:
        """`secret` under AES-256-GCM, as base64url. Only `unseal` with the same `owner` opens it again."""
        nonce = os.urandom(_NONCE)
        return urlsafe_b64encode(nonce + self._sealers[0].encrypt(nonce, secret, owner.encode())).decode()

    def unseal(self, sealed: str, owner: str) -> bytes:
        """What was sealed for `owner`. ValueError under another master key, for another owner, or if it was altered."""
        return self._open(sealed, owner)[0]

    def renewed(self, sealed: str, owner: str) -> str | None:
        """The same, sealed under the key in force; None where it is already. ValueError as from `unseal`."""
        secret, place = self._open(sealed, owner)
        return self.seal(secret, owner) if place else None

    def _open(self, sealed: str, owner: str) -> tuple[bytes, int]:
        data = urlsafe_b64decode(sealed)
        for place, sealer in enumerate(self._sealers):
            try:
                return sealer.decrypt(data[:_NONCE], data[_NONCE:], owner.encode()), place
            except InvalidTag:
                continue
        raise ValueError(f"the secret of {owner} does not open with this master key")
