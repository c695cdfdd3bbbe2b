"""Members of auth collections: registering by the saga, signing in, and what realms keep apart."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any

import orjson
import pytest

from auth_service.store import AuthStore
from fastcms.auth.v1 import auth_pb2, identities_pb2
from fastcms_common import redis_keys
from fastcms_common.announcements import Announcements
from fastcms_common.errors import Conflict, Denied, Invalid, Malformed, NotFound, Unauthenticated, Unavailable
from fastcms_common.ids import new_id
from fastcms_common.redis_connection import connect
from fastcms_common.storage import open_store
from tests.contract.auth.server import EMAIL, PASSWORD
from tests.contract.auth.shop import Shop

EVA = {"email": "Eva@Example.com", "password": "securepassword123", "company": "Acme Inc", "points": 9007199254740993}


async def test_registration_takes_the_collections_own_fields_flat(shop: Shop):
    answer = await shop.server.join(EVA)
    user = orjson.loads(answer.user)
    assert user.pop("id")
    assert user == {
        "email": "Eva@example.com",
        "verified": False,
        "company": "Acme Inc",
        "points": 9007199254740993,
    }
    assert answer.token_type == "bearer"
    assert (await shop.server.me(answer.access_token, "customers"))["company"] == "Acme Inc"
    assert (await shop.server.login("eva@example.com", EVA["password"], collection="customers")).access_token
    refreshed = await shop.server.refresh(answer.refresh_token, "customers")
    assert orjson.loads(refreshed.user)["company"] == "Acme Inc"


@pytest.mark.parametrize("fixed", ["role", "verified", "id", "superadmin", "color"])
async def test_what_a_member_may_not_set_is_named_and_leaves_nothing(shop: Shop, fixed: str):
    with pytest.raises(Invalid) as refused:
        await shop.server.join(EVA | {fixed: True})
    assert [one.field for one in refused.value.fields] == [fixed]
    assert shop.collections.records == {}
    assert (await shop.server.join(EVA)).access_token


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["email", "password"]),
        ({"email": None, "password": ""}, ["email", "password"]),
        ({"email": 7, "password": ["x"]}, ["email", "password"]),
        ({"email": "x" * 300, "password": "x" * 5000}, ["email", "password"]),
        (b'{"email": "a@example.com", "password": "\\u0000"}', ["password"]),
        ({"email": "a@example.com", "password": "short"}, ["password"]),
        ({"email": "nonsense", "password": "securepassword123"}, ["email"]),
    ],
)
async def test_each_bad_field_is_named(shop: Shop, body: Any, fields: list[str]):
    with pytest.raises(Invalid) as refused:
        await shop.server.join(body)
    assert [one.field for one in refused.value.fields] == fields


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"7", b"{",
     b'{"a":1,"a":2}', b"\xff", b'{"a":NaN}', b'{"a":"\\ud800"}', b'{"a":' + b"[" * 40 + b"]" * 40 + b"}",
     b"[" * 100_000],
)  # fmt: skip
async def test_what_is_no_object_is_malformed(shop: Shop, body: bytes):
    with pytest.raises(Malformed):
        await shop.server.join(body)


async def test_one_address_in_several_realms_is_several_people(shop: Shop):
    await shop.server.register("eva@example.com", "the password of root")
    await shop.server.join(EVA)
    await shop.server.join(EVA | {"password": "securepassword456"}, "vendors")
    with pytest.raises(Conflict) as refused:
        await shop.server.join(EVA | {"email": "EVA@EXAMPLE.COM"})
    assert refused.value.reason == "EMAIL_TAKEN"
    with pytest.raises(Unauthenticated):
        await shop.server.login("eva@example.com", EVA["password"], collection="vendors")
    assert len(shop.collections.records) == 2


async def test_a_token_of_one_realm_is_of_no_use_in_another(shop: Shop):
    root, eva = await shop.server.register(), await shop.server.join(EVA)
    for bearer, collection in ((eva, ""), (eva, "vendors"), (root, "customers")):
        with pytest.raises(Denied) as refused:
            await shop.server.me(bearer.access_token, collection)
        assert refused.value.reason == "WRONG_REALM"
        with pytest.raises(Denied):
            request = auth_pb2.ListSessionsRequest(collection=collection)
            await shop.server.call(shop.server.auth.ListSessions, request, bearer.access_token)
        with pytest.raises(Unauthenticated):
            await shop.server.refresh(bearer.refresh_token, collection)
    for bearer, email in ((root, EMAIL), (eva, "Eva@example.com")):
        holder = await shop.server.call(shop.server.auth.GetHolder, auth_pb2.GetHolderRequest(), bearer.access_token)
        assert orjson.loads(holder.data)["email"] == email


async def test_an_unknown_collection_is_not_found(shop: Shop):
    with pytest.raises(NotFound):
        await shop.server.join(EVA, "nobodies")
    with pytest.raises(NotFound):
        await shop.server.login(collection="nobodies")


async def test_a_collection_may_switch_passwords_off(shop: Shop):
    shop.collections.options["vendors"] = {"password_auth_enabled": False}
    for call in (shop.server.join(EVA, "vendors"), shop.server.login(collection="vendors")):
        with pytest.raises(Denied) as refused:
            await call
        assert refused.value.reason == "PASSWORD_AUTH_DISABLED"
    assert (await shop.server.join(EVA)).access_token


async def test_what_a_collection_allows_is_remembered_until_it_changes(shop: Shop, redis_url: str):
    asked: list[str] = []
    shop.collections.before = lambda rpc, request: asked.append(rpc) if rpc == "ResolveRealm" else None
    async with asyncio.timeout(10):
        while not asked or asked[-1] != "nobody asked":
            asked.append("nobody asked")
            await shop.server.join(EVA | {"email": f"{new_id()}@example.com"}, "vendors")
    redis = connect(redis_url)
    announcements = Announcements(redis, redis_keys.COLLECTIONS_CHANGED, asked.append, asked.clear)
    for _ in range(3):
        for allowed in (False, True):
            shop.collections.options["vendors"] = {"password_auth_enabled": allowed}
            await announcements.announce(shop.collections.realms["vendors"])
            with nullcontext() if allowed else pytest.raises(Denied):
                await shop.server.join(EVA | {"email": f"{new_id()}@example.com"}, "vendors")
    await redis.aclose()


async def test_members_lock_like_anyone(shop: Shop):
    answer = await shop.server.join(EVA)
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await shop.server.login("eva@example.com", "wrong", collection="customers")
    with pytest.raises(Denied) as refused:
        await shop.server.login("eva@example.com", EVA["password"], collection="customers")
    assert refused.value.reason == "ACCOUNT_LOCKED"
    root = await shop.server.register()
    ask = identities_pb2.GetLockStatusRequest(id=orjson.loads(answer.user)["id"])
    assert (await shop.server.call(shop.server.identities.GetLockStatus, ask, root.access_token)).is_locked
    identity = identities_pb2.GetIdentityRequest(id=ask.id)
    shown = await shop.server.call(shop.server.identities.GetIdentity, identity, root.access_token)
    assert (shown.collection, shown.role, shown.email) == ("customers", "user", "Eva@example.com")


@pytest.mark.parametrize("made", [False, True])
async def test_a_registration_that_loses_its_way_blocks_nobody(shop: Shop, made: bool):
    def fail(rpc: str, request: Any) -> None:
        if rpc == "CreateProfile":
            raise Unavailable("gone")

    if made:
        shop.collections.after = fail
    else:
        shop.collections.before = fail
    with pytest.raises(Unavailable):
        await shop.server.join(EVA)
    with pytest.raises(Unauthenticated):
        await shop.server.login("eva@example.com", EVA["password"], collection="customers")
    shop.collections.before = shop.collections.after = lambda rpc, request: None
    answer = await shop.server.join(EVA | {"company": "Second"})
    assert [one["company"] for one in shop.collections.records.values()] == ["Second"]
    assert orjson.loads(answer.user)["company"] == "Second"


async def test_of_50_parallel_registrations_of_one_address_one_wins_and_no_record_is_left_over(shop: Shop):
    answers = await asyncio.gather(*(shop.server.join(EVA) for _ in range(50)), return_exceptions=True)
    wins = [one for one in answers if isinstance(one, auth_pb2.LoginAnswer)]
    assert len(wins) == 1
    assert all(isinstance(one, auth_pb2.LoginAnswer | Conflict) for one in answers)
    assert shop.collections.emails() == ["Eva@example.com"]


async def test_an_account_whose_record_is_gone_signs_in_no_more(shop: Shop):
    answer = await shop.server.join(EVA)
    shop.collections.records.clear()
    for call in (
        shop.server.me(answer.access_token, "customers"),
        shop.server.login("eva@example.com", EVA["password"], collection="customers"),
        shop.server.refresh(answer.refresh_token, "customers"),
    ):
        with pytest.raises(Unauthenticated):
            await call


async def test_a_built_in_user_changes_their_name_only(shop: Shop):
    root = await shop.server.register(name="Root")

    async def change(**fields: Any) -> dict[str, Any]:
        request = auth_pb2.UpdateMeRequest(**fields)
        answer = await shop.server.call(shop.server.auth.UpdateMe, request, root.access_token)
        return orjson.loads(answer.data)

    renamed = await change(name=" Ruth ", update_mask={"paths": ["name"]})
    assert renamed["name"] == "Ruth"
    assert renamed["updated"] > renamed["created"]
    assert (await change())["name"] == "Ruth"
    assert (await change(update_mask={"paths": ["name"]}))["name"] is None


async def test_the_lineage_of_a_session_tells_what_became_of_its_tokens(shop: Shop):
    eva, other = await shop.server.join(EVA), await shop.server.join(EVA | {"email": "otto@example.com"})
    sessions = await shop.server.call(
        shop.server.auth.ListSessions, auth_pb2.ListSessionsRequest(collection="customers"), eva.access_token
    )
    (session,) = sessions.sessions

    async def lineage(bearer: str) -> list[str]:
        request = auth_pb2.ListSessionEventsRequest(id=session.id, collection="customers")
        answer = await shop.server.call(shop.server.auth.ListSessionEvents, request, bearer)
        return [event.kind for event in answer.events]

    assert await lineage(eva.access_token) == []
    second = await shop.server.refresh(eva.refresh_token, "customers")
    await shop.server.refresh(eva.refresh_token, "customers")
    assert await lineage(eva.access_token) == ["concurrent", "rotated"]
    with pytest.raises(NotFound):
        await lineage(other.access_token)
    third = await shop.server.refresh(second.refresh_token, "customers")
    with pytest.raises(Unauthenticated):
        await shop.server.refresh(eva.refresh_token, "customers")
    with pytest.raises(Unauthenticated):
        await shop.server.me(third.access_token, "customers")
    again = await shop.server.login("eva@example.com", EVA["password"], collection="customers")
    assert await lineage(again.access_token) == ["theft", "rotated", "concurrent", "rotated"]


async def test_passwords_are_in_no_file_as_they_are(shop: Shop):
    await shop.server.join(EVA)
    store = AuthStore(await open_store(shop.server.settings.storage_url, "auth"))
    try:
        await store.prepare()
        identities = [one async for one in store.scan_identities()]
    finally:
        await store.close()
    assert [one.password_hash.split("$")[1:4] for one in identities if one.password_hash] == [
        ["argon2id", "v=19", "m=19456,t=2,p=1"]
    ]
    assert EVA["password"] not in str(identities)
    assert PASSWORD not in str(identities)
