"""Managing accounts, on real services."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from fastcms.admin.v1 import users_pb2
from fastcms.auth.v1.identities_pb2 import Identity
from fastcms_common.errors import Conflict, Denied, DomainError, Invalid, NotFound, Unauthenticated
from tests.contract.admin.conftest import People
from tests.contract.admin.server import USER_EMAIL, USER_PASSWORD, AdminServer

# Nothing of it is kept by admin-service but the log, which has tests of its own on both engines.
pytestmark = pytest.mark.parametrize("storage", ["sqlite"], indirect=True)

MISSING = "01900000-0000-7000-8000-000000000000"


async def listed(server: AdminServer, bearer: str, **filters: Any) -> users_pb2.ListUsersResponse:
    return await server.call(server.users.ListUsers, users_pb2.ListUsersRequest(**filters), bearer)


async def update(server: AdminServer, bearer: str, user_id: str, **values: Any) -> Identity:
    request = users_pb2.UpdateUserRequest(user_id=user_id, update_mask=FieldMask(paths=list(values)), **values)
    return await server.call(server.users.UpdateUser, request, bearer)


async def do(server: AdminServer, what: str, bearer: str, user_id: str) -> Any:
    request = getattr(users_pb2, f"{what}Request")(user_id=user_id)
    return await server.call(getattr(server.users, what), request, bearer)


async def create(server: AdminServer, bearer: str, email: str, **more: Any) -> Identity:
    request = users_pb2.CreateUserRequest(email=email, password=USER_PASSWORD, **more)
    return await server.call(server.users.CreateUser, request, bearer)


async def dead(server: AdminServer, token: str) -> bool:
    try:
        await server.auth.me(token)
    except Unauthenticated:
        return True
    return False


async def test_accounts_are_listed_searched_and_sorted(server: AdminServer, people: People):
    everyone = await listed(server, people.root)
    assert (everyone.total, everyone.page, everyone.per_page, everyone.total_pages) == (3, 1, 20, 1)
    assert {user.collection for user in everyone.items} == {"users"}
    by_mail = await listed(server, people.root, sort="email", per_page=2)
    assert [user.email for user in by_mail.items] == [USER_EMAIL, "grace@example.com"]
    assert by_mail.total_pages == 2
    assert [user.email for user in (await listed(server, people.root, search="ADA")).items] == [USER_EMAIL]
    assert {user.id for user in (await listed(server, people.root, role="admin")).items} == {
        people.root_id,
        people.admin_id,
    }
    assert (await listed(server, people.root, collection="users")).total == 3


@pytest.mark.parametrize(("filters", "field"), [({"sort": "password"}, "sort"), ({"page": 0}, "page")])
async def test_a_bad_filter_is_named(server: AdminServer, people: People, filters: dict[str, Any], field: str):
    with pytest.raises(Invalid) as caught:
        await listed(server, people.root, **filters)
    assert [problem.field for problem in caught.value.fields] == [field]


async def test_an_account_is_made_seen_changed_and_removed(server: AdminServer, people: People):
    made = await create(server, people.root, "lin@example.com", name="Lin")
    assert (made.role, made.superadmin, made.verified, made.disabled) == ("user", False, False, False)
    assert await do(server, "GetUser", people.root, made.id) == made
    changed = await update(server, people.root, made.id, name="Linus", verified=True)
    assert (changed.name, changed.verified, changed.email) == ("Linus", True, "lin@example.com")
    await do(server, "DeleteUser", people.root, made.id)
    with pytest.raises(NotFound):
        await do(server, "GetUser", people.root, made.id)


async def test_a_name_can_be_taken_away_and_a_role_cannot(server: AdminServer, people: People):
    mask = FieldMask(paths=["name"])
    request = users_pb2.UpdateUserRequest(user_id=people.user_id, update_mask=mask)
    assert not (await server.call(server.users.UpdateUser, request, people.root)).HasField("name")
    request = users_pb2.UpdateUserRequest(user_id=people.user_id, update_mask=FieldMask(paths=["role"]))
    with pytest.raises(Invalid) as caught:
        await server.call(server.users.UpdateUser, request, people.root)
    assert [problem.field for problem in caught.value.fields] == ["role"]


async def test_a_disabled_account_is_out_until_it_is_enabled(server: AdminServer, people: People):
    assert (await do(server, "DisableUser", people.root, people.user_id)).disabled
    assert await dead(server, people.user)
    with pytest.raises(Unauthenticated):
        await server.auth.login(USER_EMAIL, USER_PASSWORD)
    assert not (await do(server, "EnableUser", people.root, people.user_id)).disabled
    assert (await server.auth.login(USER_EMAIL, USER_PASSWORD)).access_token


async def test_sessions_end_when_they_are_revoked(server: AdminServer, people: People):
    assert (await do(server, "RevokeUserSessions", people.root, people.user_id)).revoked == 1
    assert await dead(server, people.user)


async def test_a_reset_is_mailed_and_nothing_is_told(server: AdminServer, people: People):
    answer = await do(server, "RequestUserPasswordReset", people.root, people.user_id)
    assert answer.message
    (event,) = await server.events_until(people.root, 1, event_action="password_reset_requested")
    assert (event.user_id, event.resource_id) == (people.root_id, people.user_id)


@pytest.mark.parametrize("what", ["DeleteUser", "DisableUser"])
async def test_nobody_removes_or_disables_themselves(server: AdminServer, people: People, what: str):
    with pytest.raises(Conflict):
        await do(server, what, people.root, people.root_id)


async def test_the_last_superadmin_stays_one(server: AdminServer, people: People):
    with pytest.raises(Conflict):
        await update(server, people.root, people.root_id, role="user")
    with pytest.raises(DomainError):
        await do(server, "DeleteUser", people.admin, people.root_id)
    assert (await do(server, "GetUser", people.root, people.root_id)).superadmin


async def test_admins_make_no_admins(server: AdminServer, people: People):
    with pytest.raises(Denied):
        await create(server, people.admin, "eve@example.com", role="admin")
    with pytest.raises(Denied):
        await update(server, people.admin, people.user_id, role="admin")
    with pytest.raises(Conflict):
        await update(server, people.admin, people.admin_id, superadmin=True)


async def test_users_manage_nobody(server: AdminServer, people: People):
    for what in ("GetUser", "DeleteUser", "DisableUser", "EnableUser", "RevokeUserSessions"):
        with pytest.raises(Denied):
            await do(server, what, people.user, people.user_id)
    with pytest.raises(Denied):
        await listed(server, people.user)


@pytest.mark.parametrize("what", ["GetUser", "DeleteUser", "DisableUser", "EnableUser", "RevokeUserSessions"])
async def test_whom_nobody_knows_is_not_found(server: AdminServer, people: People, what: str):
    with pytest.raises(NotFound):
        await do(server, what, people.root, MISSING)


async def demote(server: AdminServer, people: People) -> None:
    await update(server, people.root, people.admin_id, role="user")


async def disable(server: AdminServer, people: People) -> None:
    await do(server, "DisableUser", people.root, people.admin_id)


async def delete(server: AdminServer, people: People) -> None:
    await do(server, "DeleteUser", people.root, people.admin_id)


@pytest.mark.parametrize("fall", [demote, disable, delete])
async def test_an_admins_tokens_and_grants_end_with_their_rank(server: AdminServer, people: People, fall: Any):
    acting = (await server.impersonate(people.user_id, people.admin)).access_token
    assert not await dead(server, acting)
    await fall(server, people)
    assert await dead(server, people.admin)
    assert await dead(server, acting)
    assert not await dead(server, people.user)


async def sessions(server: AdminServer, bearer: str, user_id: str) -> Any:
    return (await do(server, "ListUserSessions", bearer, user_id)).sessions


async def revoke(server: AdminServer, bearer: str, user_id: str, session_id: str) -> None:
    request = users_pb2.RevokeUserSessionRequest(user_id=user_id, session_id=session_id)
    await server.call(server.users.RevokeUserSession, request, bearer)


async def test_an_admin_sees_somebodys_sessions_and_ends_one(server: AdminServer, people: People):
    second = await server.auth.login(USER_EMAIL, USER_PASSWORD, ip="10.1.2.3")
    await server.impersonate(people.user_id, people.root)
    newest, oldest = await sessions(server, people.admin, people.user_id)
    assert (newest.ip_address, newest.user_agent, newest.current) == ("10.1.2.3", "test agent", False)
    await revoke(server, people.admin, people.user_id, newest.id)
    assert await dead(server, second.access_token)
    assert not await dead(server, people.user)
    assert [one.id for one in await sessions(server, people.admin, people.user_id)] == [oldest.id]
    (event,) = await server.events_until(people.root, 1, event_action="session_revoked")
    assert (event.user_id, event.resource_id) == (people.admin_id, people.user_id)
    assert newest.id.encode() in event.details


async def test_ones_own_session_is_marked_among_ones_own(server: AdminServer, people: People):
    assert [one.current for one in await sessions(server, people.root, people.root_id)] == [True]


async def test_a_session_is_ended_under_its_own_user_only(server: AdminServer, people: People):
    (own,) = await sessions(server, people.root, people.root_id)
    acting = await server.impersonate(people.user_id, people.root)
    (grant,) = await server.events_until(people.root, 1, event_action="impersonation_started")
    for session_id in (own.id, orjson.loads(grant.details)["session_id"], MISSING, "x"):
        with pytest.raises(NotFound):
            await revoke(server, people.root, people.user_id, session_id)
    assert not await dead(server, people.root)
    assert not await dead(server, acting.access_token)


async def test_sessions_of_those_above_are_nobodys_business(server: AdminServer, people: People):
    (own,) = await sessions(server, people.root, people.root_id)
    for bearer in (people.admin, people.user):
        with pytest.raises(Denied):
            await sessions(server, bearer, people.root_id)
        with pytest.raises(Denied):
            await revoke(server, bearer, people.root_id, own.id)
    with pytest.raises(NotFound):
        await sessions(server, people.root, MISSING)
