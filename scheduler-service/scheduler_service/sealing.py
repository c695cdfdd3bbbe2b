"""Secrets of jobs at rest: AES-256-GCM (NIST SP 800-38D) under a key derived from the one that all services share."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fastcms_common.errors import Conflict

_NONCE_BYTES = 12


class Seal:
    """Seals and opens the headers of a job. What is sealed for one job does not open as another's.

    The first of the keys seals; what was sealed with one of the others opens still.
    """

    def __init__(self, *service_keys: bytes) -> None:
        # HKDF (RFC 5869): the same key is used elsewhere for proofs, and must not be used twice for two things.
        info = b"fastcms scheduler job secrets"
        self._ciphers = [AESGCM(HKDF(SHA256(), 32, salt=None, info=info).derive(key)) for key in service_keys]

    def close(self, job: str, headers: Mapping[str, str]) -> str:
        """The headers of `job` as text that says nothing without the key."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[0].encrypt(nonce, orjson.dumps(dict(headers)), job.encode())
        return base64.b64encode(nonce + sealed).decode()

    def open(self, job: str, text: str) -> dict[str, str]:
        """The headers of `job`. Raises Conflict where they were sealed with another key."""
        return self._open(job, text)[0]

    def renewed(self, job: str, text: str) -> str | None:
        """The same headers, sealed with the first key; None where they are already. Raises Conflict as `open` does."""
        headers, place = self._open(job, text)
        return self.close(job, headers) if place else None

    def _open(self, job: str, text: str) -> tuple[dict[str, str], int]:
        raw = base64.b64decode(text)
        for place, cipher in enumerate(self._ciphers):
            try:
                opened = cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], job.encode())
            except InvalidTag:
                continue
            return orjson.loads(opened), place
        raise Conflict(
            f"The headers of '{job}' were stored under another service key. Set them anew.",
            reason="SECRETS_UNREADABLE",
        )
