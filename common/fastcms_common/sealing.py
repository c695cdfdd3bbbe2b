"""Secrets among settings, sealed so that neither the database nor Redis can tell them.

AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce, under a key derived from the one that the services share.
"""

from __future__ import annotations

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_PREFIX = "sealed:"
_NONCE = 12


class Sealer:
    """Seals and opens texts. Any service that has the shared key can open what another has sealed.

    The first of the keys seals; what was sealed with one of the others opens still.
    """

    def __init__(self, *service_keys: bytes) -> None:
        self._ciphers = [
            AESGCM(HKDF(SHA256(), length=32, salt=None, info=b"fastcms sealed settings v1").derive(key))
            for key in service_keys
        ]

    def seal(self, text: str, purpose: str) -> str:
        """The text, sealed. It can be opened for the same purpose only."""
        nonce = os.urandom(_NONCE)
        sealed = self._ciphers[0].encrypt(nonce, text.encode(), purpose.encode())
        return _PREFIX + base64.b64encode(nonce + sealed).decode()

    def open(self, sealed: str, purpose: str) -> str:
        """The text. ValueError where it was sealed with none of the keys for this purpose."""
        return self._open(sealed, purpose)[0]

    def renewed(self, sealed: str, purpose: str) -> str | None:
        """The same text, sealed with the first key; None where it is already. ValueError as from `open`."""
        text, place = self._open(sealed, purpose)
        return self.seal(text, purpose) if place else None

    def _open(self, sealed: str, purpose: str) -> tuple[str, int]:
        try:
            raw = base64.b64decode(sealed.removeprefix(_PREFIX), validate=True)
        except ValueError as error:
            raise ValueError(f"{purpose} cannot be opened: it is not sealed") from error
        for place, cipher in enumerate(self._ciphers):
            try:
                return cipher.decrypt(raw[:_NONCE], raw[_NONCE:], purpose.encode()).decode(), place
            except (InvalidTag, ValueError):
                continue
        raise ValueError(f"{purpose} cannot be opened: it was sealed with another key")
