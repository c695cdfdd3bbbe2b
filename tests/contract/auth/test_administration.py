"""What admins do to accounts of all realms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from fastcms.auth.v1 import credentials_pb2, identities_pb2
from fastcms.auth.v1.identities_pb2 import Identity
from fastcms_common.errors import Conflict, Denied, DomainError, Invalid, NotFound, Unauthenticated, Unavailable
from fastcms_common.events import EventStream
from fastcms_common.redis_keys import COLLECTION_EVENTS
from tests.contract.auth.mailbox import Mailbox, token_of
from tests.contract.auth.profiles import Collections
from tests.contract.auth.server import EMAIL, PASSWORD, AuthServer
from tests.contract.auth.shop import Shop


@dataclass
class Office:
    """Accounts by name: two superadmins, an admin, a user, and a member of customers."""

    server: AuthServer
    collections: Collections
    tokens: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    async def call(self, rpc: str, by: str = "root", **fields: Any) -> Any:
        request = getattr(identities_pb2, f"{rpc}Request")(**fields)
        return await self.server.call(getattr(self.server.identities, rpc), request, self.tokens[by])

    async def change(self, who: str, by: str = "root", **fields: Any) -> Identity:
        mask = {"paths": list(fields)}
        given = {key: value for key, value in fields.items() if value is not None}
        return await self.call("UpdateIdentity", by, id=self.ids[who], update_mask=mask, **given)

    async def names(self, **filters: Any) -> list[str]:
        page = await self.call("ListIdentities", **filters)
        return [one.email.partition("@")[0] for one in page.items]


@pytest.fixture
async def office(shop: Shop) -> AsyncIterator[Office]:
    root = await shop.server.register()
    office = Office(shop.server, shop.collections, {"root": root.access_token}, {})
    office.ids["root"] = orjson.loads(root.user)["id"]
    for name, role, superadmin in (("rita", "admin", True), ("anna", "admin", False), ("uli", "user", False)):
        made = await office.call(
            "CreateIdentity", email=f"{name}@example.com", password=PASSWORD, role=role, superadmin=superadmin
        )
        office.ids[name] = made.id
        office.tokens[name] = (await shop.server.login(f"{name}@example.com")).access_token
    eva = await shop.server.join({"email": "eva@example.com", "password": PASSWORD, "company": "Acme"})
    office.tokens["eva"], office.ids["eva"] = eva.access_token, orjson.loads(eva.user)["id"]
    return office


async def test_accounts_of_all_realms_are_listed_and_filtered(office: Office):
    assert await office.names() == ["eva", "uli", "anna", "rita", "root"]
    assert await office.names(sort="email") == ["anna", "eva", "rita", "root", "uli"]
    assert await office.names(sort="-role,email", collection="users") == ["uli", "anna", "rita", "root"]
    assert await office.names(collection="customers") == ["eva"]
    assert await office.names(role="admin", sort="email") == ["anna", "rita", "root"]
    assert await office.names(verified=True) == ["root"]
    assert await office.names(search="ULI@") == ["uli"]
    assert await office.names(search="nobody") == []
    page = await office.call("ListIdentities", page=2, per_page=2, sort="email")
    assert [one.email for one in page.items] == ["rita@example.com", EMAIL]
    assert (page.total, page.page, page.per_page, page.total_pages) == (5, 2, 2, 3)
    assert {one.collection for one in (await office.call("ListIdentities")).items} == {"users", "customers"}


@pytest.mark.parametrize("sort", ["password_hash", "email;drop", "-", "email,", "created desc"])
async def test_sorting_by_anything_else_is_refused(office: Office, sort: str):
    with pytest.raises(Invalid) as refused:
        await office.names(sort=sort)
    assert refused.value.fields[0].field == "sort"


async def test_members_are_made_with_their_record(office: Office):
    made = await office.call(
        "CreateIdentity", email="otto@example.com", password=PASSWORD, collection="customers", verified=True,
        data=b'{"company":"Beta"}',
    )  # fmt: skip
    assert (made.collection, made.verified, made.role) == ("customers", True, "user")
    assert office.collections.records[office.collections.realms["customers"], made.id]["company"] == "Beta"
    assert (await office.server.login("otto@example.com", collection="customers")).access_token
    for fields, wrong in (
        ({"name": "Otto"}, "name"),
        ({"role": "admin"}, "role"),
        ({"superadmin": True}, "superadmin"),
        ({"data": b'{"color":1}'}, "color"),
    ):
        with pytest.raises(Invalid) as refused:
            await office.call(
                "CreateIdentity", email="x@example.com", password=PASSWORD, collection="customers", **fields
            )
        assert [one.field for one in refused.value.fields] == [wrong]


async def test_changes_are_made_together_or_not_at_all(office: Office):
    changed = await office.change("uli", name="Uli", email="ulrich@example.com", verified=True)
    assert (changed.name, changed.email, changed.verified) == ("Uli", "ulrich@example.com", True)
    with pytest.raises(Invalid) as refused:
        await office.change("uli", name="Nobody", email="nonsense")
    assert refused.value.fields[0].field == "email"
    with pytest.raises(Conflict) as taken:
        await office.change("uli", name="Nobody", email="ANNA@example.com")
    assert taken.value.reason == "EMAIL_TAKEN"
    assert (await office.call("GetIdentity", id=office.ids["uli"])).name == "Uli"
    assert (await office.change("uli", email="uli2@example.com")).verified is False
    assert (await office.change("uli", name=None)).HasField("name") is False
    for field_name in ("email", "role", "verified"):
        with pytest.raises(Invalid):
            await office.change("uli", **{field_name: None})
    with pytest.raises(Invalid):
        await office.call("UpdateIdentity", id=office.ids["uli"], update_mask={"paths": ["id"]})


async def test_what_became_different_is_in_the_log(office: Office):
    await office.change("uli", role="admin", verified=False)
    (event,) = [one for one in await office.server.audit("user_updated") if one.resource_id == office.ids["uli"]]
    details = orjson.loads(event.details)
    assert (details["old"], details["new"]) == ({"role": "user"}, {"role": "admin"})
    await office.change("uli", role="admin", superadmin=True)
    await office.change("uli", role="user")
    event = (await office.server.audit("user_updated"))[-1]
    assert orjson.loads(event.details)["old"] == {"role": "admin", "superadmin": True}


async def test_nobody_gives_somebody_else_a_password(office: Office):
    with pytest.raises(Invalid) as refused:
        await office.call("UpdateIdentity", id=office.ids["uli"], update_mask={"paths": ["password_hash", "password"]})
    assert {one.field for one in refused.value.fields} == {"password_hash", "password"}


async def test_a_members_record_follows(office: Office):
    await office.change("eva", email="eve@example.com", verified=True)
    (record,) = office.collections.records.values()
    assert (record["email"], record["verified"]) == ("eve@example.com", True)
    with pytest.raises(Invalid) as refused:
        await office.change("eva", name="Eve", role="admin")
    assert {one.field for one in refused.value.fields} == {"name", "role"}


@pytest.mark.parametrize(
    ("fields", "ends"),
    [
        ({"role": "admin"}, True),
        ({"name": "Ulrich"}, False),
        ({"verified": True}, False),
        ({"role": "user"}, False),
    ],
)
async def test_sessions_end_with_the_role_and_stay_otherwise(office: Office, fields: dict[str, Any], ends: bool):
    await office.change("uli", **fields)
    if ends:
        with pytest.raises(Unauthenticated):
            await office.server.me(office.tokens["uli"])
    else:
        assert await office.server.me(office.tokens["uli"])


@pytest.mark.parametrize(
    ("by", "rpc", "target", "fields", "error", "reason"),
    [
        ("anna", "UpdateIdentity", "rita", {"name": "x"}, Denied, "RANK_TOO_HIGH"),
        ("anna", "DeleteIdentity", "root", {}, Denied, "RANK_TOO_HIGH"),
        ("anna", "UpdateIdentity", "uli", {"role": "admin"}, Denied, "SUPERADMIN_REQUIRED"),
        ("anna", "UpdateIdentity", "anna", {"superadmin": True}, Conflict, "OWN_ACCOUNT"),
        ("root", "UpdateIdentity", "root", {"role": "user"}, Conflict, "OWN_ACCOUNT"),
        ("root", "UpdateIdentity", "root", {"email": "else@example.com"}, Conflict, "OWN_ACCOUNT"),
        ("root", "DeleteIdentity", "root", {}, Conflict, "OWN_ACCOUNT"),
        ("root", "DisableIdentity", "root", {}, Conflict, "OWN_ACCOUNT"),
        ("root", "UpdateIdentity", "uli", {"superadmin": True}, Invalid, "VALIDATION_FAILED"),
        ("uli", "DisableIdentity", "eva", {}, Denied, "ADMIN_REQUIRED"),
        ("eva", "DisableIdentity", "uli", {}, Denied, "ADMIN_REQUIRED"),
        ("root", "DeleteIdentity", "01a1fb3c-0000-7000-8000-000000000000", {}, NotFound, "USER_NOT_FOUND"),
        ("root", "UpdateIdentity", "nonsense", {"name": "x"}, NotFound, "USER_NOT_FOUND"),
    ],
)
async def test_who_may_not(
    office: Office, by: str, rpc: str, target: str, fields: dict[str, Any], error: type[DomainError], reason: str
):
    more = {"update_mask": {"paths": list(fields)}, **fields} if rpc == "UpdateIdentity" else {}
    with pytest.raises(error) as refused:
        await office.call(rpc, by, id=office.ids.get(target, target), **more)
    assert refused.value.reason == reason


async def test_the_last_superadmin_stays_one_even_when_two_remove_each_other(office: Office):
    async def demote(by: str, target: str) -> bool:
        try:
            await office.change(target, by, role="user")
        except (Conflict, Denied, Unauthenticated):
            return False
        return True

    done = await asyncio.gather(demote("root", "rita"), demote("rita", "root"))
    assert sum(done) == 1
    left = "root" if done[0] else "rita"
    made = await office.call("CreateIdentity", left, email="third@example.com", password=PASSWORD, role="admin",
                             superadmin=True)  # fmt: skip
    office.ids["third"] = made.id
    office.tokens["third"] = (await office.server.login("third@example.com")).access_token
    await office.call("DisableIdentity", "third", id=office.ids[left])
    await office.call("EnableIdentity", "third", id=office.ids[left])
    office.tokens[left] = (await office.server.login(EMAIL if left == "root" else "rita@example.com")).access_token
    await office.call("DeleteIdentity", left, id=office.ids["third"])


async def test_a_disabled_account_is_shut_out_and_comes_back(office: Office):
    shown = await office.call("DisableIdentity", id=office.ids["uli"])
    assert shown.disabled
    with pytest.raises(Unauthenticated):
        await office.server.me(office.tokens["uli"])
    with pytest.raises(Unauthenticated) as refused:
        await office.server.login("uli@example.com")
    assert refused.value.reason == "INVALID_CREDENTIALS"
    assert not (await office.call("EnableIdentity", id=office.ids["uli"])).disabled
    assert (await office.server.login("uli@example.com")).access_token


async def test_a_link_from_before_an_account_was_disabled_stays_void(office: Office, tmp_path: Path):
    server = office.server
    asked = credentials_pb2.RequestPasswordResetRequest(email="uli@example.com")
    await server.call(server.credentials.RequestPasswordReset, asked)
    mail = await Mailbox(tmp_path / "outbox").next("uli@example.com", "password_reset")
    await office.call("DisableIdentity", id=office.ids["uli"])
    await office.call("EnableIdentity", id=office.ids["uli"])
    confirm = credentials_pb2.ConfirmPasswordResetRequest(token=token_of(mail), new_password="another good password 2")
    with pytest.raises(Invalid) as refused:
        await server.call(server.credentials.ConfirmPasswordReset, confirm)
    assert refused.value.reason == "TOKEN_INVALID"


async def test_a_deleted_account_leaves_nothing_behind(office: Office):
    for name, collection in (("uli", ""), ("eva", "customers")):
        await office.call("DeleteIdentity", id=office.ids[name])
        with pytest.raises(Unauthenticated):
            await office.server.me(office.tokens[name], collection)
        with pytest.raises(NotFound):
            await office.call("GetIdentity", id=office.ids[name])
    assert office.collections.records == {}
    assert await office.server.redis.keys(f"sessions:{office.ids['eva']}") == []
    assert (await office.server.join({"email": "eva@example.com", "password": PASSWORD})).access_token


async def test_a_member_whose_record_must_stay_stays(office: Office):
    (record,) = office.collections.records.values()
    record["company"] = "pinned"
    with pytest.raises(Conflict):
        await office.call("DeleteIdentity", id=office.ids["eva"])
    assert (await office.server.login("eva@example.com", collection="customers")).access_token


async def test_all_sessions_of_an_account_end_at_once(office: Office):
    await office.server.login("uli@example.com")
    answer = await office.call("RevokeIdentitySessions", "anna", id=office.ids["uli"])
    assert answer.revoked == 2
    with pytest.raises(Unauthenticated):
        await office.server.me(office.tokens["uli"])


async def test_a_removal_that_lost_its_way_is_finished_by_the_job(office: Office):
    def fail(rpc: str, request: Any) -> None:
        if rpc == "DeleteProfile":
            raise Unavailable("gone")

    office.collections.before = fail
    with pytest.raises(Unavailable):
        await office.call("DeleteIdentity", id=office.ids["eva"])
    office.collections.before = lambda rpc, request: None
    with pytest.raises(NotFound):
        await office.call("GetIdentity", id=office.ids["eva"])
    await office.call("DeleteIdentity", id=office.ids["uli"])
    assert len(office.collections.records) == 1


@pytest.mark.parametrize("event", ["record_deleted", "collection_truncated", "collection_deleted"])
async def test_an_identity_goes_with_its_record(office: Office, event: str):
    otto = await office.server.join({"email": "otto@example.com", "password": PASSWORD})
    realm = office.collections.realms["customers"]
    office.collections.records.pop((realm, office.ids["eva"]))
    fields = {"event": event, "collection_id": realm, "collection": "customers"}
    if event == "record_deleted":
        fields["record_id"] = office.ids["eva"]
    await EventStream(office.server.redis, COLLECTION_EVENTS).publish(fields)
    async with asyncio.timeout(10):
        while "eva" in await office.names():
            await asyncio.sleep(0.02)
    with pytest.raises(Unauthenticated):
        await office.server.me(office.tokens["eva"], "customers")
    assert await office.server.me(otto.access_token, "customers"), "who has a record stays"
    assert (await office.server.join({"email": "eva@example.com", "password": PASSWORD})).access_token
