"""Signing keys and the tokens of services."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import jwt
import orjson
import pytest

from auth_service.keys import SigningKeys
from auth_service.master_key import MasterKey
from auth_service.store import SIGNING_KEYS, AuthStore
from fastcms.auth.v1 import identities_pb2, keys_pb2
from fastcms_common.errors import Conflict, Denied, Unauthenticated
from fastcms_common.service_tokens import proof_of, read_key
from fastcms_common.storage import Change, open_store
from fastcms_common.tokens import AUDIENCE
from tests.contract.auth.server import AuthServer, auth_server


async def key_set(server: AuthServer) -> dict[str, list[dict[str, str]]]:
    answer = await server.call(server.keys.GetKeySet, keys_pb2.GetKeySetRequest())
    assert answer.content_type == "application/jwk-set+json"
    return orjson.loads(answer.data)


async def test_anyone_can_verify_a_token_by_the_key_set_alone(server: AuthServer):
    answer = await server.register()
    (key,) = (await key_set(server))["keys"]
    assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("OKP", "Ed25519", "sig", "EdDSA")
    assert "d" not in key
    header = jwt.get_unverified_header(answer.access_token)
    assert (header["kid"], header["typ"]) == (key["kid"], "at+jwt")
    claims = jwt.decode(
        answer.access_token, jwt.PyJWK(key, algorithm="EdDSA"), ["EdDSA"], audience=AUDIENCE, issuer="fastcms"
    )
    assert claims["sub"] == orjson.loads(answer.user)["id"]
    assert (claims["role"], claims["col"], claims["superadmin"]) == ("admin", "users", True)
    assert claims["exp"] - claims["iat"] == answer.expires_in
    assert {"jti", "sid"} <= claims.keys()
    assert "act" not in claims


async def test_keys_outlive_the_process(tmp_path: Path, redis_url: str):
    async with auth_server(tmp_path, redis_url) as server:
        answer = await server.register()
        before = await key_set(server)
    async with auth_server(tmp_path, redis_url) as server:
        assert await key_set(server) == before
        assert await server.me(answer.access_token)


async def test_private_keys_are_not_in_the_database(tmp_path: Path):
    master = MasterKey(b"m" * 32)
    store = AuthStore(await open_store(f"sqlite:///{tmp_path}/auth.db", "auth"))
    try:
        await store.prepare()
        keys = SigningKeys(store, master)
        await keys.load()
        (kept,) = await store.signing_keys()
        secret = master.unseal(kept.private, f"signing-key:{kept.kid}")
        assert len(secret) == 32
        assert secret not in (tmp_path / "auth.db").read_bytes() + kept.private.encode()
        with pytest.raises(ValueError, match="does not open"):
            await SigningKeys(store, MasterKey(b"n" * 32)).load()
    finally:
        await store.close()


async def test_replicas_that_start_at_once_make_one_first_key(tmp_path: Path):
    stores = [AuthStore(await open_store(f"sqlite:///{tmp_path}/auth.db", "auth")) for _ in range(6)]
    try:
        for store in stores:
            await store.prepare()
        replicas = [SigningKeys(store, MasterKey(b"m" * 32)) for store in stores]
        await asyncio.gather(*(replica.load() for replica in replicas))
        assert len({await replica.key_set() for replica in replicas}) == 1
        assert len(await stores[0].signing_keys()) == 1
    finally:
        for store in stores:
            await store.close()


async def test_a_new_key_is_published_before_it_signs_and_the_old_one_after(server: AuthServer):
    root = await server.register()
    (first,) = (await key_set(server))["keys"]
    service = await server.service_token()

    async def rotate(fence: int) -> keys_pb2.RotateSigningKeysResponse:
        request = keys_pb2.RotateSigningKeysRequest(fencing_token=fence)
        return await server.call(server.keys.RotateSigningKeys, request, service)

    rotated = await rotate(1)
    assert [one["kid"] for one in (await key_set(server))["keys"]] == [first["kid"], rotated.kid]
    assert jwt.get_unverified_header((await server.login()).access_token)["kid"] == first["kid"]
    assert (await rotate(2)).kid == rotated.kid, "one that does not sign yet needs no successor"
    store = AuthStore(await open_store(server.settings.storage_url, "auth"))
    await store.prepare()
    second = (await store.signing_keys())[1]
    await store.storage.update(SIGNING_KEYS.name, second.id, Change(set={"active_from": second.created}))
    assert (await rotate(3)).withdrawn == 0
    assert jwt.get_unverified_header((await server.login()).access_token)["kid"] == rotated.kid
    assert await server.me(root.access_token), "what the old key has signed is good"
    long_ago = {"active_from": "2020-01-01T00:00:00.000000Z"}
    await store.storage.update(SIGNING_KEYS.name, second.id, Change(set=long_ago))
    assert (await rotate(4)).withdrawn == 1
    assert first["kid"] not in [one["kid"] for one in (await key_set(server))["keys"]]
    await store.close()


async def test_a_service_proves_itself(server: AuthServer):
    token = await server.service_token("scheduler-service")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["role"]) == ("service:scheduler-service", "service")
    assert claims["exp"] - claims["iat"] == 300
    assert "sid" not in claims
    cleanup = identities_pb2.DeleteExpiredTokensRequest(fencing_token=1)
    assert (await server.call(server.identities.DeleteExpiredTokens, cleanup, token)).deleted == 0


async def test_a_wrong_or_stale_proof_is_refused(server: AuthServer):
    key, now = read_key(server.settings.service_key_file), int(time.time())
    for request in (
        {"service": "admin-service", "timestamp": now, "proof": "0" * 64},
        {"service": "admin-service", "timestamp": now, "proof": proof_of(key, "gateway", now)},
        {"service": "admin-service", "timestamp": now - 90, "proof": proof_of(key, "admin-service", now - 90)},
        {"service": "admin-service", "timestamp": now + 90, "proof": proof_of(key, "admin-service", now + 90)},
        {"service": "", "timestamp": now, "proof": proof_of(key, "", now)},
        {"service": "admin-service", "timestamp": now, "proof": "é"},
    ):
        with pytest.raises(Unauthenticated):
            await server.call(server.keys.IssueServiceToken, keys_pb2.IssueServiceTokenRequest(**request))


async def test_the_cleanup_is_a_services_to_call_and_heeds_its_fence(server: AuthServer):
    root = await server.register()
    token = await server.service_token()
    with pytest.raises(Denied):
        await server.call(
            server.identities.DeleteExpiredTokens,
            identities_pb2.DeleteExpiredTokensRequest(fencing_token=9),
            root.access_token,
        )
    (session,) = await server.redis.keys("session:*")
    await server.redis.delete(session)

    async def clean(fence: int) -> int:
        request = identities_pb2.DeleteExpiredTokensRequest(fencing_token=fence)
        return (await server.call(server.identities.DeleteExpiredTokens, request, token)).deleted

    assert await clean(7) == 1
    assert await clean(7) == 0
    with pytest.raises(Conflict) as refused:
        await clean(6)
    assert refused.value.reason == "LEASE_LOST"
