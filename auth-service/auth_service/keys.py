"""The Ed25519 keys that sign access tokens: private here and nowhere else, public as a key set for everyone."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import urlsafe_b64encode
from datetime import timedelta

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from auth_service.master_key import MasterKey
from auth_service.models import SigningKey
from auth_service.store import AuthStore
from fastcms_common import times
from fastcms_common.errors import Unavailable
from fastcms_common.logs import get_logger
from fastcms_common.tokens import ALGORITHM, TOKEN_TYPE

# Seconds between two looks at what other replicas have made.
RELOAD_SECONDS = 60.0
# A new key is published this long before it signs: verifiers fetch the key set every five minutes.
_PUBLISHED_BEFORE = timedelta(minutes=10)
# A key is published this long after its successor took over: no access token lives longer.
_PUBLISHED_AFTER = timedelta(days=31)

log = get_logger(__name__)


class SigningKeys:
    """The keys in storage, and the one that signs now."""

    def __init__(self, store: AuthStore, master_key: MasterKey) -> None:
        self._store = store
        self._master_key = master_key
        self._keys: list[SigningKey] = []
        self._signers: dict[str, Ed25519PrivateKey] = {}
        self._key_set = b""

    async def load(self) -> None:
        """Reads the keys, making the first one where there is none. Of replicas that start at once, one makes it."""
        keys = await self._store.signing_keys()
        if not keys:
            await self._store.add_signing_key(self._new_key(1, times.now_text()))
            keys = await self._store.signing_keys()
        self._signers = {key.kid: self._signers.get(key.kid) or self._signer(key) for key in keys}
        self._key_set = orjson.dumps({"keys": [_public_jwk(key) for key in keys]})
        self._keys = keys

    async def reload_forever(self) -> None:
        """Picks up what other replicas have made, until cancelled."""
        while True:
            try:
                await self.load()
            except Unavailable as error:
                log.warning("signing keys not read", error=error.detail)
            await asyncio.sleep(RELOAD_SECONDS if self._keys else 0.5)

    async def ready(self) -> None:
        """Returns where tokens can be signed. Raises Unavailable otherwise."""
        self._current()

    async def key_set(self) -> bytes:
        """The public keys as JSON (RFC 7517). Raises Unavailable where they have not been read yet."""
        if not self._key_set:
            await self.load()
        return self._key_set

    def sign(self, claims: dict[str, object]) -> str:
        """A signed token of these claims."""
        key = self._current()
        headers = {"kid": key.kid, "typ": TOKEN_TYPE}
        return jwt.encode(claims, self._signers[key.kid], algorithm=ALGORITHM, headers=headers)

    async def rotate(self, older_than: timedelta = timedelta(0)) -> tuple[str, int]:
        """Makes the next key where the newest has been in use for `older_than`, and withdraws those that no live token
        can need; the newest kid and how many went."""
        await self.load()
        now = times.now()
        newest = self._keys[-1]
        if newest.active_from <= times.to_text(now - older_than):
            following = self._new_key(int(newest.id) + 1, times.to_text(now + _PUBLISHED_BEFORE))
            await self._store.add_signing_key(following)
        withdrawn = 0
        spent_before = times.to_text(now - _PUBLISHED_AFTER)
        for key, successor in zip(self._keys, self._keys[1:], strict=False):
            if successor.active_from < spent_before:
                await self._store.delete_signing_key(key.id)
                withdrawn += 1
        await self.load()
        return self._keys[-1].kid, withdrawn

    def _current(self) -> SigningKey:
        now = times.now_text()
        for key in reversed(self._keys):
            if key.active_from <= now:
                return key
        if self._keys:
            return self._keys[0]
        raise Unavailable("Signing keys have not been read yet.", reason="KEYS_UNAVAILABLE")

    def _new_key(self, number: int, active_from: str) -> SigningKey:
        private = Ed25519PrivateKey.generate()
        public = _base64url(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        kid = _thumbprint(public)
        secret = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return SigningKey(
            id=f"{number:08d}",
            kid=kid,
            public=public,
            private=self._master_key.seal(secret, owner(kid)),
            created=times.now_text(),
            active_from=active_from,
        )

    def _signer(self, key: SigningKey) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._master_key.unseal(key.private, owner(key.kid)))


def _public_jwk(key: SigningKey) -> dict[str, str]:
    # RFC 8037, 2.
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": ALGORITHM, "kid": key.kid, "x": key.public}


def _thumbprint(public: str) -> str:
    # RFC 7638, 3: the required members in lexical order, without white space.
    return _base64url(hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{public}"}}'.encode()).digest())


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def owner(kid: str) -> str:
    """What the private half of a key is sealed for."""
    return f"signing-key:{kid}"
