"""Acting as someone else, as admin-service asks for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from auth_service.models import Identity
from auth_service.sessions import Sessions
from fastcms.auth.v1 import auth_pb2, credentials_pb2, identities_pb2
from fastcms_common import redis_keys
from fastcms_common.errors import Conflict, Denied, DomainError, Invalid, Malformed, NotFound, Unauthenticated
from tests.contract.auth.server import EMAIL, PASSWORD, AuthServer
from tests.contract.auth.shop import Shop


@dataclass
class Cast:
    """A superadmin, two admins and a user, signed in; ids by name."""

    server: AuthServer
    tokens: dict[str, str]
    ids: dict[str, str]
    service: str

    async def start(self, actor: str, target: str, duration: int = 3600) -> identities_pb2.StartImpersonationResponse:
        request = identities_pb2.StartImpersonationRequest(
            actor_token=self.tokens.get(actor, actor), target_id=self.ids.get(target, target), duration=duration
        )
        return await self.server.call(self.server.identities.StartImpersonation, request, self.service)

    async def end(self, token: str) -> list[identities_pb2.Grant]:
        request = identities_pb2.EndImpersonationRequest(token=token)
        answer = await self.server.call(self.server.identities.EndImpersonation, request, self.service)
        return list(answer.grants)


@pytest.fixture
async def cast(server: AuthServer) -> Cast:
    root = await server.register()
    answers = {"root": root}
    for name, role in (("anna", "admin"), ("otto", "admin"), ("uli", "user")):
        answers[name] = await server.register(f"{name}@example.com", bearer=root.access_token, role=role)
    tokens = {name: answer.access_token for name, answer in answers.items()}
    ids = {name: orjson.loads(answer.user)["id"] for name, answer in answers.items()}
    return Cast(server, tokens, ids, await server.service_token())


async def test_the_token_speaks_for_the_target_and_names_the_actor(cast: Cast):
    started = await cast.start("anna", "uli", 60)
    assert (await cast.server.me(started.access_token))["email"] == "uli@example.com"
    assert (started.actor_id, started.actor_email) == (cast.ids["anna"], "anna@example.com")
    assert (started.target.id, started.target.email) == (cast.ids["uli"], "uli@example.com")
    # What the person may do about their own sessions is not the admin's to do.
    with pytest.raises(Denied) as refused:
        await cast.server.call(
            cast.server.auth.RevokeAllSessions, auth_pb2.RevokeAllSessionsRequest(), started.access_token
        )
    assert refused.value.reason == "FORBIDDEN_WHILE_IMPERSONATING"


@pytest.mark.parametrize(
    ("actor", "target", "error", "reason"),
    [
        ("anna", "anna", Malformed, "SELF_IMPERSONATION"),
        ("root", "root", Malformed, "SELF_IMPERSONATION"),
        ("anna", "root", Denied, "RANK_TOO_HIGH"),
        ("anna", "otto", Denied, "RANK_TOO_HIGH"),
        ("uli", "anna", Denied, "ADMIN_REQUIRED"),
        ("anna", "01a1fb3c-0000-7000-8000-000000000000", NotFound, "USER_NOT_FOUND"),
        ("anna", "nonsense", NotFound, "USER_NOT_FOUND"),
        ("no token", "uli", Unauthenticated, "TOKEN_INVALID"),
    ],
)
async def test_who_may_not(cast: Cast, actor: str, target: str, error: type[DomainError], reason: str):
    with pytest.raises(error) as refused:
        await cast.start(actor, target)
    assert refused.value.reason == reason


async def test_a_superadmin_may_act_as_an_admin_who_then_may_do_nothing_of_an_admins(cast: Cast):
    started = await cast.start("root", "otto")
    ask = identities_pb2.GetIdentityRequest(id=cast.ids["uli"])
    with pytest.raises(Denied) as refused:
        await cast.server.call(cast.server.identities.GetIdentity, ask, started.access_token)
    assert refused.value.reason == "FORBIDDEN_WHILE_IMPERSONATING"
    with pytest.raises(Denied) as refused:
        await cast.start(started.access_token, "uli")
    assert refused.value.reason == "FORBIDDEN_WHILE_IMPERSONATING"


@pytest.mark.parametrize("duration", [59, 86_401, 0, -1])
async def test_a_duration_out_of_bounds_is_named(cast: Cast, duration: int):
    with pytest.raises(Invalid) as refused:
        await cast.start("anna", "uli", duration)
    assert refused.value.fields[0].field == "duration"


async def test_the_token_dies_with_its_end(cast: Cast):
    started = await cast.start("anna", "uli")
    (grant,) = await cast.end(started.access_token)
    assert (grant.session_id, grant.actor_id, grant.target_id) == (
        started.session_id,
        cast.ids["anna"],
        cast.ids["uli"],
    )
    with pytest.raises(Unauthenticated):
        await cast.server.me(started.access_token)
    with pytest.raises(Unauthenticated):
        await cast.end(started.access_token)
    assert await cast.server.me(cast.tokens["uli"]), "the person's own session goes on"


async def test_the_admins_own_token_ends_all_that_they_have_given(cast: Cast):
    one, two = await cast.start("root", "anna"), await cast.start("root", "uli")
    other = await cast.start("anna", "uli")
    assert {grant.target_id for grant in await cast.end(cast.tokens["root"])} == {cast.ids["anna"], cast.ids["uli"]}
    for started in (one, two):
        with pytest.raises(Unauthenticated):
            await cast.server.me(started.access_token)
    assert await cast.server.me(other.access_token)
    assert await cast.end(cast.tokens["root"]) == []


async def test_starting_again_ends_the_grant_before(cast: Cast):
    first, second = await cast.start("anna", "uli"), await cast.start("anna", "uli")
    with pytest.raises(Unauthenticated):
        await cast.server.me(first.access_token)
    assert await cast.server.me(second.access_token)
    assert len(await cast.end(cast.tokens["anna"])) == 1


async def test_a_person_sees_who_acted_as_them(shop: Shop):
    root = await shop.server.register()
    eva = await shop.server.join({"email": "eva@example.com", "password": PASSWORD, "company": "Acme"})
    request = identities_pb2.StartImpersonationRequest(
        actor_token=root.access_token, target_id=orjson.loads(eva.user)["id"], duration=60, reason="A ticket"
    )
    service = await shop.server.service_token()
    started = await shop.server.call(shop.server.identities.StartImpersonation, request, service)
    assert (await shop.server.me(started.access_token, "customers"))["company"] == "Acme"

    async def seen() -> list[auth_pb2.Impersonation]:
        ask = auth_pb2.ListMyImpersonationsRequest(collection="customers")
        answer = await shop.server.call(shop.server.auth.ListMyImpersonations, ask, eva.access_token)
        return list(answer.impersonations)

    (one,) = await seen()
    assert (one.actor_email, one.reason, one.HasField("ended")) == (EMAIL, "A ticket", False)
    assert one.expires.seconds - one.started.seconds == 60
    end = identities_pb2.EndImpersonationRequest(token=started.access_token)
    await shop.server.call(shop.server.identities.EndImpersonation, end, service)
    (one,) = await seen()
    assert one.HasField("ended")


async def change_password(cast: Cast) -> None:
    request = credentials_pb2.ChangePasswordRequest(current_password=PASSWORD, new_password=f"{PASSWORD} anew")
    await cast.server.call(cast.server.credentials.ChangePassword, request, cast.tokens["anna"])


async def end_all_sessions(cast: Cast) -> None:
    await cast.server.call(cast.server.auth.RevokeAllSessions, auth_pb2.RevokeAllSessionsRequest(), cast.tokens["anna"])


async def have_all_sessions_ended(cast: Cast) -> None:
    request = identities_pb2.RevokeIdentitySessionsRequest(id=cast.ids["anna"])
    await cast.server.call(cast.server.identities.RevokeIdentitySessions, request, cast.tokens["root"])


@pytest.mark.parametrize("close", [change_password, end_all_sessions, have_all_sessions_ended])
async def test_what_a_thief_has_begun_ends_with_the_admins_sessions(
    cast: Cast, close: Callable[[Cast], Awaitable[None]]
):
    acting = (await cast.start("anna", "uli")).access_token
    others = (await cast.start("otto", "uli")).access_token
    assert await cast.server.me(acting)
    await close(cast)
    with pytest.raises(Unauthenticated):
        await cast.server.me(acting)
    assert await cast.server.me(others)
    (ended,) = await cast.server.audit("impersonation_ended")
    assert orjson.loads(ended.details)["reason"] == "session_ended"


@pytest.mark.parametrize(
    ("rpc", "who", "changes"),
    [
        ("UpdateIdentity", "anna", {"role": "user"}),
        ("DisableIdentity", "anna", {}),
        ("DeleteIdentity", "anna", {}),
        ("RevokeIdentitySessions", "anna", {}),
        ("UpdateIdentity", "uli", {"role": "admin"}),
        ("DisableIdentity", "uli", {}),
        ("DeleteIdentity", "uli", {}),
    ],
)
async def test_who_falls_or_rises_while_it_begins_stops_it(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, rpc: str, who: str, changes: dict[str, str]
):
    """Everything that ends sessions has come and gone before there is one to end."""
    request = getattr(identities_pb2, f"{rpc}Request")(
        id=cast.ids[who], **changes, **({"update_mask": FieldMask(paths=list(changes))} if changes else {})
    )
    opened: list[str] = []
    open_session = Sessions.open_impersonation

    async def open_late(self: Sessions, target: Identity, actor_id: str, session_id: str, lifetime: int) -> None:
        await cast.server.call(getattr(cast.server.identities, rpc), request, cast.tokens["root"])
        await open_session(self, target, actor_id, session_id, lifetime)
        opened.append(session_id)

    monkeypatch.setattr(Sessions, "open_impersonation", open_late)
    with pytest.raises(Conflict) as refused:
        await cast.start("anna", "uli")
    assert refused.value.reason == "ACCOUNT_CHANGED"
    assert not await cast.server.redis.exists(redis_keys.session(opened[0]))


async def test_nobody_but_a_service_may_ask(cast: Cast):
    cast.service = cast.tokens["root"]
    with pytest.raises(Denied):
        await cast.start("root", "uli")


async def test_an_impersonation_is_no_device_of_the_person(cast: Cast):
    await cast.start("anna", "uli")
    answer = await cast.server.call(cast.server.auth.ListSessions, auth_pb2.ListSessionsRequest(), cast.tokens["uli"])
    assert [one.current for one in answer.sessions] == [True]
