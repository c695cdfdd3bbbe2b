"""Access tokens, verified by everyone and signed by auth-service alone.

JSON Web Tokens (RFC 7519) of type `at+jwt` (RFC 9068), signed with Ed25519 (`EdDSA`, RFC 8037). Claims: `iss aud sub
iat exp jti sid role col`, `superadmin` for superadmins, `act.sub` while impersonating (RFC 8693, 4.1).
`col` is the realm. Tokens of services have the role `service` and no `sid`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import jwt
import orjson

from fastcms_common.context import Caller
from fastcms_common.errors import DomainError, Unauthenticated, Unavailable
from fastcms_common.logs import get_logger

ALGORITHM = "EdDSA"
TOKEN_TYPE = "at+jwt"
AUDIENCE = "fastcms"
# No token of ours comes near it; a longer one is not worth a look.
MAX_TOKEN = 4096
# Seconds. Clocks of replicas may differ by this much; keys are fetched again after REFRESH, and for a key that is not
# known at most every COOLDOWN.
LEEWAY = 5
_REFRESH = 300.0
_COOLDOWN = 1.0
_CAPACITY = 20_000

KeySource = Callable[[], Awaitable[bytes]]
"""Gives the key set as JSON (RFC 7517). Raises Unavailable where it cannot be had."""

log = get_logger(__name__)


class TokenVerifier:
    """Tells whom a token speaks for. Verified tokens are remembered until they expire or a key is withdrawn."""

    def __init__(self, key_source: KeySource, issuer: str, clock: Callable[[], float] = time.time) -> None:
        self._key_source = key_source
        self._issuer = issuer
        self._clock = clock
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched = float("-inf")
        self._attempted = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._known: dict[str, Caller] = {}

    async def verify(self, token: str) -> Caller:
        """The caller that `token` speaks for.

        Raises Unauthenticated (TOKEN_INVALID, TOKEN_EXPIRED); Unavailable where the keys cannot be had.
        """
        now = self._clock()
        if now - self._fetched > _REFRESH:
            self._refresh(now)
        caller = self._known.get(token)
        if caller is None:
            caller = await self._verify(token, now)
        if caller.expires <= now:
            self._known.pop(token, None)
            raise Unauthenticated("The token has expired.", reason="TOKEN_EXPIRED")
        return caller

    async def ready(self) -> None:
        """Returns where there are keys to verify with; fetches them where there are none yet. Raises Unavailable."""
        if not self._keys and (fetching := self._refresh(self._clock())) is not None:
            await asyncio.shield(fetching)
        if not self._keys:
            raise Unavailable("Signing keys cannot be had.", reason="KEYS_UNAVAILABLE")

    async def _verify(self, token: str, now: float) -> Caller:
        if len(token) > MAX_TOKEN:
            raise _invalid()
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise _invalid() from None
        if header.get("alg") != ALGORITHM or header.get("typ") != TOKEN_TYPE:
            raise _invalid()
        key = await self._key(header.get("kid"), now)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=self._issuer,
                leeway=LEEWAY,
                options={"require": ["iss", "aud", "sub", "iat", "exp", "jti", "role"], "verify_exp": False},
            )
            caller = caller_of(claims)
        except (jwt.PyJWTError, KeyError, TypeError, ValueError):
            raise _invalid() from None
        if len(self._known) >= _CAPACITY:
            self._known.clear()
        self._known[token] = caller
        return caller

    async def _key(self, kid: object, now: float) -> jwt.PyJWK:
        if not isinstance(kid, str):
            raise _invalid()
        if kid not in self._keys and (fetching := self._refresh(now)) is not None:
            await asyncio.shield(fetching)
        if not self._keys:
            raise Unavailable("Signing keys cannot be had.", reason="KEYS_UNAVAILABLE")
        key = self._keys.get(kid)
        if key is None:
            raise _invalid()
        return key

    def _refresh(self, now: float) -> asyncio.Task[None] | None:
        """Fetches the keys, once for all that want them. None where the last attempt is too recent.

        Known keys go on being good while auth-service is away, so nobody but the holder of an unknown key waits.
        """
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        if now - self._attempted < _COOLDOWN:
            return None
        self._attempted = now
        self._fetching = asyncio.create_task(self._load())
        return self._fetching

    async def _load(self) -> None:
        try:
            key_set = orjson.loads(await self._key_source())
        except DomainError as error:
            log.warning("signing keys not refreshed", error=error.detail)
            return
        keys = {key["kid"]: jwt.PyJWK(key, algorithm=ALGORITHM) for key in key_set["keys"]}
        if self._keys.keys() - keys.keys():
            self._known.clear()
        self._keys = keys
        self._fetched = self._clock()


def caller_of(claims: Mapping[str, Any]) -> Caller:
    """The caller of verified claims. Raises KeyError, TypeError or ValueError where they are not as they have to be."""
    role = claims["role"]
    if role not in ("admin", "user", "service"):
        raise ValueError("role")
    session_id = claims.get("sid")
    if role != "service" and not isinstance(session_id, str):
        raise ValueError("sid")
    actor = claims.get("act")
    return Caller(
        id=claims["sub"],
        role=role,
        realm=claims.get("col", ""),
        superadmin=claims.get("superadmin") is True,
        session_id=session_id,
        actor_id=actor["sub"] if actor is not None else None,
        expires=int(claims["exp"]),
    )


def _invalid() -> Unauthenticated:
    return Unauthenticated("The token is not valid.", reason="TOKEN_INVALID")
