"""The record side of members, as auth-service uses it, and what it is told."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from google.api.httpbody_pb2 import HttpBody

from collections_service.store import CollectionStore
from fastcms.collections.v1 import profiles_pb2, records_pb2
from fastcms_common.errors import Conflict, Denied, Invalid, NotFound, Unauthenticated
from fastcms_common.ids import new_id
from fastcms_common.storage import Document
from tests.contract.collections.engines import on_one_engine
from tests.contract.collections.server import CollectionsServer

FIELDS = ("company", {"name": "age", "type": "number", "min": 0.0}, {"name": "note", "type": "text", "hidden": True})


class AuthService:
    """What auth-service calls."""

    def __init__(self, server: CollectionsServer, realm: str, token: str) -> None:
        self.server = server
        self.realm = realm
        self.token = token

    async def call(self, rpc: str, **arguments: Any) -> Any:
        request = getattr(profiles_pb2, f"{rpc}Request")(**{"collection": self.realm, **arguments})
        return await self.server.call(getattr(self.server.profiles, rpc), request, self.token)

    async def create(self, id: str, email: str = "ada@example.com", /, **data: Any) -> dict[str, Any]:
        answer = await self.call("CreateProfile", id=id, email=email, verified=False, data=orjson.dumps(data))
        assert answer.id == id
        return orjson.loads(answer.record)


@pytest.fixture
async def auth(server: CollectionsServer) -> AuthService:
    made = await server.create("members", *FIELDS, type="auth", options=b'{"auth": {"otp_enabled": true}}')
    return AuthService(server, made.id, await server.service())


async def test_a_realm_is_resolved_by_name_and_by_id(auth: AuthService) -> None:
    await auth.server.create("things")
    for word in ("members", auth.realm):
        realm = await auth.call("ResolveRealm", collection=word)
        assert (realm.id, realm.name, orjson.loads(realm.auth_options)) == (
            auth.realm,
            "members",
            {"otp_enabled": True},
        )
    for word in ("things", "nothing"):
        with pytest.raises(NotFound):
            await auth.call("ResolveRealm", collection=word)


async def test_a_profile_is_made_once_and_read_by_its_owner(auth: AuthService) -> None:
    id = new_id()
    record = await auth.create(id, company="Acme", email_visibility=True)
    assert {name: record[name] for name in ("id", "email", "verified", "email_visibility", "company", "age")} == {
        "id": id,
        "email": "ada@example.com",
        "verified": False,
        "email_visibility": True,
        "company": "Acme",
        "age": None,
    }
    assert "note" not in record
    assert await auth.create(id, "other@example.com", company="Other") == record
    assert orjson.loads((await auth.call("GetProfile", id=id)).record) == record
    assert list((await auth.call("FindProfiles", ids=[id, new_id()])).ids) == [id]


async def test_a_member_is_found_by_what_the_collection_knows_them_by(server: CollectionsServer) -> None:
    username = {"name": "username", "type": "text", "required": True, "unique": True}
    options = b'{"auth": {"identity_field": "username"}}'
    made = await server.create("members", username, "company", type="auth", options=options)
    auth = AuthService(server, made.id, await server.service())
    sara = new_id()
    await auth.create(sara, "sara@example.com", username="Sara", company="Acme")
    assert (await auth.call("FindNamedProfile", value="Sara")).id == sara
    for nobody in ("sara", "Sara ", "Acme", "sara@example.com", sara, "%"):
        assert (await auth.call("FindNamedProfile", value=nobody)).id == ""


async def test_nobody_is_found_where_the_collection_names_no_field(auth: AuthService) -> None:
    await auth.create(new_id(), "ada@example.com", company="Acme")
    for value in ("ada@example.com", "Acme"):
        assert (await auth.call("FindNamedProfile", value=value)).id == ""


@on_one_engine
@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({"zzz": 1}, ["zzz"]),
        ({"age": -1, "company": 3}, ["company", "age"]),
        ({"id": "x"}, ["id"]),
        ({"email": "x"}, ["email"]),
        ({"verified": True}, ["verified"]),
        ({"role": "admin"}, ["role"]),
        ({"password": "x"}, ["password"]),
        ({"created": "x"}, ["created"]),
    ],
)
async def test_bad_fields_are_named_flat(auth: AuthService, data: dict[str, Any], fields: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        await auth.create(new_id(), **data)
    assert [error.field for error in refused.value.fields] == fields


async def test_only_auth_service_changes_email_and_verified(auth: AuthService) -> None:
    id = new_id()
    await auth.create(id)
    answer = await auth.call("UpdateProfile", id=id, verified=True)
    assert orjson.loads(answer.record)["verified"] is True
    answer = await auth.call("UpdateProfile", id=id, email="new@example.com")
    assert orjson.loads(answer.record)["email"] == "new@example.com"
    with pytest.raises(NotFound):
        await auth.call("UpdateProfile", id=new_id(), verified=True)
    for name in ("email", "verified"):
        with pytest.raises(Invalid) as refused:
            await auth.server.patch("members", id, {name: None})
        assert refused.value.fields[0].field == f"data.{name}"
    await auth.server.patch("members", id, {"company": "New", "email_visibility": True})


async def test_deleting_a_profile_is_repeatable_and_minds_relations(auth: AuthService) -> None:
    id = new_id()
    await auth.create(id)
    relation = {"name": "owner", "type": "relation", "collection": "members", "on_delete": "restrict"}
    await auth.server.open("things", relation)
    thing = await auth.server.add("things", owner=id)
    with pytest.raises(Conflict):
        await auth.call("DeleteProfile", id=id)
    await auth.server.remove("things", thing["id"])
    for _ in range(2):
        await auth.call("DeleteProfile", id=id)
    await auth.call("DeleteProfile", collection=new_id(), id=id)
    with pytest.raises(NotFound):
        await auth.call("GetProfile", id=id)


async def test_a_profile_that_is_pointed_to_while_it_is_deleted_stays(
    auth: AuthService, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = new_id()
    record = await auth.create(id)
    relation = {"name": "owner", "type": "relation", "collection": "members", "on_delete": "restrict"}
    await auth.server.open("things", relation)
    delete = CollectionStore.delete

    async def late(self: CollectionStore, *arguments: Any) -> Document | None:
        await auth.server.add("things", owner=id)
        return await delete(self, *arguments)

    monkeypatch.setattr(CollectionStore, "delete", late)
    with pytest.raises(Conflict):
        await auth.call("DeleteProfile", id=id)
    assert orjson.loads((await auth.call("GetProfile", id=id)).record) == record


async def test_an_admin_who_adds_a_member_sets_hidden_fields_too(auth: AuthService) -> None:
    id = new_id()
    data = orjson.dumps({"company": "Acme", "note": "pays late"})
    answer = await auth.call("CreateProfile", id=id, email="ada@example.com", data=data, by_admin=True)
    assert "note" not in orjson.loads(answer.record)
    assert (await auth.server.get("members", id))["data"]["note"] == "pays late"


async def test_an_account_is_not_deleted_by_whoever_only_acts_as_its_owner(auth: AuthService) -> None:
    """Neither by its record, alone or among others, nor by a record that takes it along."""
    server = auth.server
    await server.open("teams")
    team = await server.add("teams")
    joined = {"name": "team", "type": "relation", "collection": "teams", "on_delete": "cascade"}
    await server.change(auth.realm, schema=[*FIELDS, joined], list_rule="", view_rule="", delete_rule="")
    own, other = new_id(), new_id()
    await auth.create(own, team=team["id"])
    await auth.create(other, "bob@example.com")
    acting = await server.user(own, col=auth.realm, act={"sub": new_id()})

    with pytest.raises(Denied) as refused:
        await server.remove("members", own, acting)
    assert refused.value.reason == "FORBIDDEN_WHILE_IMPERSONATING"
    with pytest.raises(Denied):
        await server.remove("teams", team["id"], acting)
    for atomic in (True, False):
        request = records_pb2.BulkDeleteRecordsRequest(
            collection="members", body=HttpBody(data=orjson.dumps({"record_ids": [own]})), atomic=atomic
        )
        if atomic:
            with pytest.raises(Denied):
                await server.call(server.records.BulkDeleteRecords, request, acting)
        else:
            answer = orjson.loads((await server.call(server.records.BulkDeleteRecords, request, acting)).data)
            assert [error["status"] for error in answer["errors"]] == [403]
    assert list((await auth.call("FindProfiles", ids=[own])).ids) == [own]

    await server.remove("members", other, acting)
    await server.remove("members", own, await server.user(own, col=auth.realm))
    with pytest.raises(NotFound):
        await auth.call("GetProfile", id=own)


async def test_members_are_not_made_as_records(auth: AuthService) -> None:
    await auth.server.change(auth.realm, create_rule="")
    for bearer in (None, "", await auth.server.user()):
        with pytest.raises(Denied) as refused:
            await auth.server.add("members", bearer, company="x")
        assert refused.value.reason == "USE_AUTH_ROUTES"


async def test_profiles_are_for_services_alone(auth: AuthService) -> None:
    request = profiles_pb2.ResolveRealmRequest(collection="members")
    for bearer, error in ((None, Denied), (await auth.server.user(), Denied), ("", Unauthenticated)):
        with pytest.raises(error):
            await auth.server.call(auth.server.profiles.ResolveRealm, request, bearer)


async def test_auth_service_hears_of_members_that_went(auth: AuthService) -> None:
    await auth.server.open("things", "title")
    thing = await auth.server.add("things", title="t")
    await auth.server.remove("things", thing["id"])
    first, second = new_id(), new_id()
    for id in (first, second):
        await auth.create(id)
    await auth.server.remove("members", first)
    await auth.server.truncate("members")
    await auth.server.drop(auth.realm)
    told = [(event["event"], event["collection_id"], event.get("record_id")) for event in await auth.server.events()]
    assert told == [
        ("record_deleted", auth.realm, first),
        ("collection_truncated", auth.realm, None),
        ("collection_deleted", auth.realm, None),
    ]


async def test_a_cascade_tells_of_members_too(auth: AuthService) -> None:
    await auth.server.open("teams", "name")
    relation = {"name": "team", "type": "relation", "collection": "teams", "on_delete": "cascade"}
    await auth.server.change(auth.realm, schema=[*FIELDS, relation])
    team = (await auth.server.add("teams", name="t"))["id"]
    id = new_id()
    await auth.create(id, team=team)
    await auth.server.remove("teams", team)
    # Before, in case of a crash, and after, when the record is sure to be gone.
    assert [event["record_id"] for event in await auth.server.events()] == [id, id]
