"""Acting as someone else, on real services."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta
from typing import Any

import orjson
import pytest

from auth_service.grant_store import GRANTS, GrantStore
from fastcms.admin.v1 import admin_pb2, users_pb2
from fastcms.admin.v1.audit_pb2 import AuditEvent
from fastcms_common import times
from fastcms_common.errors import Denied, Invalid, Malformed, NotFound, Unauthenticated
from fastcms_common.storage import Change, open_store
from tests.contract.admin.conftest import People
from tests.contract.admin.server import USER_EMAIL, AdminServer

# Nothing of it is kept by admin-service but the log, which has tests of its own on both engines.
pytestmark = pytest.mark.parametrize("storage", ["sqlite"], indirect=True)


async def test_the_answer_is_the_seeds(server: AdminServer, people: People):
    answer = await server.impersonate(people.user_id, people.root, duration=1800)
    assert answer.token_type == "bearer"
    assert answer.expires_in == 1800
    assert answer.impersonated_user_id == people.user_id
    assert answer.message == "Impersonation token issued. This token cannot be refreshed."
    assert (await server.auth.me(answer.access_token))["email"] == USER_EMAIL


async def test_it_lasts_an_hour_where_nothing_is_said(server: AdminServer, people: People):
    assert (await server.impersonate(people.user_id, people.root)).expires_in == 3600


async def test_the_other_dialect_gives_token_user_and_end(server: AdminServer, people: People):
    request = admin_pb2.StartImpersonationRequest(user_id=people.user_id, duration=60)
    answer = await server.call(server.admin.StartImpersonation, request, people.root)
    assert answer.user_id == people.user_id
    assert (await server.auth.me(answer.token))["id"] == people.user_id
    started = (await server.events(people.root, event_action="impersonation_started")).items[0]
    assert 59 <= answer.expires_at.seconds - started.created.seconds <= 61


async def test_its_start_is_in_the_log_when_the_token_is(server: AdminServer, people: People):
    answer = await server.impersonate(people.user_id, people.root, reason="ticket 4711")
    found = await server.events(people.root, event_action="impersonation_started")
    assert found.total == 1
    event = found.items[0]
    assert (event.user_id, event.user_email, event.actor_id) == (people.user_id, USER_EMAIL, people.root_id)
    assert (event.ip_address, event.user_agent) == ("10.0.0.9", "test agent")
    assert orjson.loads(event.details)["reason"] == "ticket 4711"
    assert answer.access_token not in str(event)


async def test_what_is_done_with_the_token_is_logged_with_both_ids(server: AdminServer, people: People):
    token = (await server.impersonate(people.user_id, people.root)).access_token
    assert await server.end(token)
    (ended,) = await server.events_until(people.root, 1, event_action="impersonation_ended")
    assert (ended.user_id, ended.actor_id) == (people.user_id, people.root_id)
    assert orjson.loads(ended.details)["reason"] == "requested"


async def test_an_ended_token_is_dead_at_once(server: AdminServer, people: People):
    token = (await server.impersonate(people.user_id, people.root)).access_token
    assert await server.end(token)
    with pytest.raises(Unauthenticated):
        await server.auth.me(token)
    with pytest.raises(Unauthenticated):
        await server.end(token)


async def test_the_admins_own_token_ends_all_that_they_have_given(server: AdminServer, people: People):
    tokens = [
        (await server.impersonate(people.user_id, people.root)).access_token,
        (await server.impersonate(people.admin_id, people.root)).access_token,
    ]
    assert await server.end(people.root)
    for token in tokens:
        with pytest.raises(Unauthenticated):
            await server.auth.me(token)
    assert not await server.end(people.root)
    assert len(await server.events_until(people.root, 2, event_action="impersonation_ended")) == 2


async def test_a_new_start_for_the_same_person_ends_the_one_before(server: AdminServer, people: People):
    first = (await server.impersonate(people.user_id, people.root)).access_token
    second = (await server.impersonate(people.user_id, people.root)).access_token
    with pytest.raises(Unauthenticated):
        await server.auth.me(first)
    assert (await server.auth.me(second))["id"] == people.user_id
    assert await ends(server, people) == ["superseded"]


async def ends(server: AdminServer, people: People) -> list[str]:
    """Why impersonations have ended, once the log has all that was written so far."""
    await server.record("marker")
    await server.events_until(people.root, 1, event_action="marker")
    found = await server.events(people.root, event_action="impersonation_ended")
    return [orjson.loads(event.details)["reason"] for event in found.items]


async def test_one_that_runs_out_has_one_end_in_the_log_at_the_time_of_its_end(server: AdminServer, people: People):
    await server.impersonate(people.user_id, people.root)
    over = times.to_text(times.now() - timedelta(hours=3))
    await change_grant(server, people, expires=over)
    await asyncio.gather(*(server.auth.reconcile() for _ in range(3)))
    # Whoever looks later finds it closed, and so does a new start for the same person.
    await server.auth.reconcile()
    await server.impersonate(people.user_id, people.root)
    assert await ends(server, people) == ["expired"]
    (event,) = (await server.events(people.root, event_action="impersonation_ended")).items
    assert times.to_text(event.created.ToDatetime(UTC)) == over
    assert (event.user_id, event.actor_id) == (people.user_id, people.root_id)


async def test_one_that_a_crash_has_left_unmarked_is_not_written_down_twice(server: AdminServer, people: People):
    await server.impersonate(people.user_id, people.root)
    assert await server.end(people.root)
    await change_grant(server, people, ended=None, started="2026-01-01T00:00:00.000000Z")
    await server.auth.reconcile()
    assert await ends(server, people) == ["requested"]


async def test_one_that_ends_with_the_persons_sessions_has_its_end_too(server: AdminServer, people: People):
    token = (await server.impersonate(people.user_id, people.root)).access_token
    revoke = users_pb2.RevokeUserSessionsRequest(user_id=people.user_id)
    await server.call(server.users.RevokeUserSessions, revoke, people.root)
    with pytest.raises(Unauthenticated):
        await server.auth.me(token)
    await server.auth.reconcile()
    assert await ends(server, people) == [], "it is so young that it may be only beginning"
    await change_grant(server, people, started="2026-01-01T00:00:00.000000Z")
    await server.auth.reconcile()
    assert await ends(server, people) == ["session_ended"]


async def test_one_that_runs_is_left_alone(server: AdminServer, people: People):
    token = (await server.impersonate(people.user_id, people.root)).access_token
    await change_grant(server, people, started="2026-01-01T00:00:00.000000Z")
    await server.auth.reconcile()
    assert await ends(server, people) == []
    assert await server.auth.me(token)


async def change_grant(server: AdminServer, people: People, **values: Any) -> None:
    """Sets the clock of the one grant there is."""
    storage = await open_store(server.auth.settings.storage_url, "auth")
    store = GrantStore(storage)
    try:
        await store.prepare()
        (grant,) = await store.grants_for(people.user_id, 10)
        await storage.update(GRANTS.name, grant.id, Change(set=values))
    finally:
        await storage.close()


async def refused(server: AdminServer, people: People, target: str, reason: str) -> AuditEvent:
    """The refusal as it is in the log."""
    found = await server.events_until(people.root, 1, event_action="impersonation_refused", resource_id=target)
    assert orjson.loads(found[0].details)["refusal"] == reason
    assert found[0].outcome == "failure"
    return found[0]


async def test_oneself_cannot_be_impersonated(server: AdminServer, people: People):
    with pytest.raises(Malformed) as caught:
        await server.impersonate(people.root_id, people.root)
    assert caught.value.reason == "SELF_IMPERSONATION"
    await refused(server, people, people.root_id, "SELF_IMPERSONATION")


async def test_nobody_of_the_same_or_a_higher_rank_can_be_impersonated(server: AdminServer, people: People):
    for target in (people.root_id, people.admin_id):
        with pytest.raises((Denied, Malformed)):
            await server.impersonate(target, people.admin)
    await refused(server, people, people.root_id, "RANK_TOO_HIGH")


async def test_nobody_unknown_can_be_impersonated(server: AdminServer, people: People):
    with pytest.raises(NotFound):
        await server.impersonate("01900000-0000-7000-8000-000000000000", people.root)
    await refused(server, people, "01900000-0000-7000-8000-000000000000", "USER_NOT_FOUND")


async def test_what_is_too_long_to_be_an_id_does_not_get_into_the_log(server: AdminServer, people: People):
    """Anyone who is signed in may knock here."""
    with pytest.raises(Invalid) as caught:
        await server.impersonate("x" * 65, people.user)
    assert [field.field for field in caught.value.fields] == ["user_id"]
    await server.impersonate(people.user_id, people.root)
    assert (await server.events(people.root, event_action="impersonation_refused")).total == 0


@pytest.mark.parametrize("duration", [0, 59, 86401, -1])
async def test_a_duration_outside_its_bounds_is_refused_by_name(server: AdminServer, people: People, duration: int):
    with pytest.raises(Invalid) as caught:
        await server.impersonate(people.user_id, people.root, duration=duration)
    assert [field.field for field in caught.value.fields] == ["duration"]


async def test_an_impersonation_starts_no_other(server: AdminServer, people: People):
    token = (await server.impersonate(people.admin_id, people.root)).access_token
    with pytest.raises(Denied) as caught:
        await server.impersonate(people.user_id, token)
    assert caught.value.reason == "FORBIDDEN_WHILE_IMPERSONATING"
    event = await refused(server, people, people.user_id, "FORBIDDEN_WHILE_IMPERSONATING")
    assert (event.user_id, event.actor_id) == (people.admin_id, people.root_id)


async def test_users_and_strangers_start_none(server: AdminServer, people: People):
    with pytest.raises(Denied) as caught:
        await server.impersonate(people.admin_id, people.user)
    assert caught.value.reason == "ADMIN_REQUIRED"
    event = await refused(server, people, people.admin_id, "ADMIN_REQUIRED")
    assert event.user_id == people.user_id
    with pytest.raises(Unauthenticated):
        await server.call(server.admin.ImpersonateUser, admin_pb2.ImpersonateUserRequest(user_id=people.user_id))


async def test_a_user_who_impersonates_nobody_ends_nothing(server: AdminServer, people: People):
    assert not await server.end(people.user)
