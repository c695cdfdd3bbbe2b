"""Key handling of the token verifier: rotation, an auth-service that is away, no stampede."""

from __future__ import annotations

import asyncio
import base64

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fastcms_common.errors import Unauthenticated, Unavailable
from fastcms_common.tokens import TokenVerifier

NOW = 1_800_000_000.0


class Keys:
    """An auth-service in a test: its keys, whether it answers, and how often it was asked."""

    def __init__(self, *kids: str) -> None:
        self.private = {kid: Ed25519PrivateKey.generate() for kid in kids}
        self.published = set(kids)
        self.away = False
        self.asked = 0

    async def __call__(self) -> bytes:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("away")
        return orjson.dumps({"keys": [self._public(kid) for kid in sorted(self.published)]})

    def _public(self, kid: str) -> dict[str, str]:
        raw = self.private[kid].public_key().public_bytes_raw()
        return {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()}

    def token(self, kid: str = "a", **claims: object) -> str:
        body = {"iss": "fastcms", "aud": "fastcms", "sub": "u1", "iat": int(NOW), "exp": int(NOW) + 60, "jti": "j"}
        body |= {"sid": "s1", "role": "user", "col": "users"} | claims
        return jwt.encode(body, self.private[kid], algorithm="EdDSA", headers={"kid": kid, "typ": "at+jwt"})


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock()


async def test_a_token_tells_its_caller(clock: Clock):
    keys = Keys("a")
    caller = await TokenVerifier(keys, "fastcms", clock).verify(
        keys.token(role="admin", superadmin=True, act={"sub": "boss"}, iat=0)
    )
    assert (caller.id, caller.role, caller.superadmin, caller.actor_id) == ("u1", "admin", True, "boss")


async def test_keys_are_fetched_once_for_all_who_wait(clock: Clock):
    keys = Keys("a")
    verifier = TokenVerifier(keys, "fastcms", clock)
    await asyncio.gather(*(verifier.verify(keys.token(iat=0, jti=str(n))) for n in range(50)))
    assert keys.asked == 1


async def test_unknown_keys_do_not_make_a_stampede(clock: Clock):
    keys = Keys("a", "b")
    keys.published = {"a"}
    verifier = TokenVerifier(keys, "fastcms", clock)
    await verifier.verify(keys.token(iat=0))
    for n in range(50):
        with pytest.raises(Unauthenticated):
            await verifier.verify(keys.token("b", iat=0, jti=str(n)))
    assert keys.asked == 1


async def test_a_new_key_is_found_and_a_withdrawn_one_is_refused(clock: Clock):
    keys = Keys("a", "b")
    keys.published = {"a"}
    verifier = TokenVerifier(keys, "fastcms", clock)
    old = keys.token("a", iat=0)
    await verifier.verify(old)
    keys.published = {"b"}
    clock.now += 2
    await verifier.verify(keys.token("b", iat=0))
    with pytest.raises(Unauthenticated):
        await verifier.verify(old)


async def test_known_keys_stay_good_while_auth_service_is_away(clock: Clock):
    keys = Keys("a")
    verifier = TokenVerifier(keys, "fastcms", clock)
    await verifier.verify(keys.token(iat=0))
    keys.away = True
    clock.now += 1000
    assert (await verifier.verify(keys.token(iat=0, exp=int(clock.now) + 9))).id == "u1"


async def test_without_any_key_nobody_is_let_in(clock: Clock):
    keys = Keys("a")
    keys.away = True
    with pytest.raises(Unavailable):
        await TokenVerifier(keys, "fastcms", clock).verify(keys.token(iat=0))


async def test_a_token_ends_to_the_second_although_it_is_remembered(clock: Clock):
    keys = Keys("a")
    verifier = TokenVerifier(keys, "fastcms", clock)
    token = keys.token(iat=0)
    clock.now = NOW + 59.9
    await verifier.verify(token)
    clock.now = NOW + 60
    with pytest.raises(Unauthenticated) as caught:
        await verifier.verify(token)
    assert caught.value.reason == "TOKEN_EXPIRED"


async def test_a_verifier_is_ready_once_it_has_keys_and_stays_so():
    keys, clock = Keys("a"), Clock()
    keys.away = True
    verifier = TokenVerifier(keys, "fastcms", clock)
    with pytest.raises(Unavailable):
        await verifier.ready()
    keys.away = False
    clock.now += 5
    await verifier.ready()
    keys.away = True
    await verifier.ready()
    assert keys.asked == 2
