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
    """Seals and opens texts. Any service that has the shared key can open what another has sealed."""

    def __init__(self, service_key: bytes) -> None:
        key = HKDF(SHA256(), length=32, salt=None, info=b"fastcms sealed settings v1").derive(service_key)
        self._cipher = AESGCM(key)

    def seal(self, text: str, purpose: str) -> str:
        """The text, sealed. It can be opened for the same purpose only."""
        nonce = os.urandom(_NONCE)
        return _PREFIX + base64.b64encode(nonce + self._cipher.encrypt(nonce, text.encode(), purpose.encode())).decode()

    def open(self, sealed: str, purpose: str) -> str:
        """The text. ValueError where it was not sealed with this key for this purpose."""
        try:
            raw = base64.b64decode(sealed.removeprefix(_PREFIX), validate=True)
            return self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], purpose.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise ValueError(f"{purpose} cannot be opened: it was sealed with another key") from error
