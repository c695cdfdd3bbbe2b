"""The log: what is written by others arrives, is found, counted, exported."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from admin_service.audit_chain import Checkpoint
from fastcms.admin.v1 import audit_pb2
from fastcms_common.context import Caller, RequestContext, bind
from fastcms_common.errors import Denied, Invalid
from tests.contract.admin.conftest import People
from tests.contract.admin.server import AdminServer


def at(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


async def test_a_sign_in_is_found_by_every_filter_that_fits_it(server: AdminServer, people: People):
    await server.auth.login(ip="192.0.2.7")
    fitting = {
        "event_type": "auth",
        "event_action": "login",
        "user_id": people.root_id,
        "severity": "info",
        "outcome": "success",
        "ip_address": "192.0.2.7",
        "resource_type": "session",
        "from_date": at(datetime.now(UTC) - timedelta(minutes=1)),
        "to_date": at(datetime.now(UTC) + timedelta(minutes=1)),
    }
    (event,) = await server.events_until(people.root, 1, **fitting)
    assert event.user_agent == "test agent"
    for other in (
        {"event_type": "user"},
        {"event_action": "logout"},
        {"user_id": people.user_id},
        {"actor_id": people.root_id},
        {"severity": "critical"},
        {"outcome": "error"},
        {"ip_address": "192.0.2.8"},
        {"resource_type": "user"},
        {"resource_id": "another"},
        {"from_date": at(datetime.now(UTC) + timedelta(minutes=1))},
        {"to_date": at(datetime.now(UTC) - timedelta(minutes=1))},
    ):
        assert (await server.events(people.root, **(fitting | other))).total == 0, other


async def test_the_newest_comes_first_and_pages_do_not_overlap(server: AdminServer, people: People):
    for number in range(7):
        await server.record("counted", details={"number": number})
    await server.events_until(people.root, 7, event_action="counted")
    seen: list[int] = []
    for offset in (0, 3, 6, 9):
        page = await server.events(people.root, event_action="counted", limit=3, offset=offset)
        assert (page.total, page.limit, page.offset) == (7, 3, offset)
        seen += [orjson.loads(event.details)["number"] for event in page.items]
    assert seen == [6, 5, 4, 3, 2, 1, 0]


async def test_a_page_has_a_hundred_events_where_nothing_is_said(server: AdminServer, people: People):
    assert (await server.events(people.root)).limit == 100


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"offset": -1}, "offset"),
        ({"event_type": "nonsense"}, "event_type"),
        ({"severity": "mild"}, "severity"),
        ({"outcome": "good"}, "outcome"),
        ({"ip_address": "192.0.2"}, "ip_address"),
        ({"ip_address": "192.0.2.0/24"}, "ip_address"),
    ],
)
async def test_a_bad_filter_is_named(server: AdminServer, people: People, filters: dict[str, object], field: str):
    with pytest.raises(Invalid) as caught:
        await server.events(people.root, **filters)
    assert [problem.field for problem in caught.value.fields] == [field]


async def test_users_do_not_see_the_log(server: AdminServer, people: People):
    with pytest.raises(Denied):
        await server.events(people.user)


async def test_failed_sign_ins_are_found_by_address(server: AdminServer, people: People):
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        with pytest.raises(Exception, match="password"):
            await server.auth.login(password="not the password at all", ip=address)
    await server.events_until(people.root, 3, event_action="login_failed")

    async def failed(**filters: object) -> int:
        request = audit_pb2.ListFailedLoginsRequest(**filters)
        return len((await server.call(server.audit.ListFailedLogins, request, people.root)).items)

    assert await failed() == 3
    assert await failed(ip_address="192.0.2.1") == 2
    assert await failed(ip_address="::ffff:192.0.2.1") == 2
    assert await failed(ip_address="192.0.2.1", user_id=people.user_id) == 0
    assert await failed(limit=1) == 1
    assert await failed(from_date=at(datetime.now(UTC) + timedelta(minutes=1))) == 0


async def test_statistics_count_every_kind(server: AdminServer, people: People):
    for _ in range(3):
        await server.record("counted", severity="warning", outcome="error")
    await server.events_until(people.root, 3, event_action="counted")
    request = audit_pb2.GetAuditStatisticsRequest()
    counts = await server.call(server.audit.GetAuditStatistics, request, people.root)
    assert counts.by_action["counted"] == 3
    assert counts.by_outcome["error"] == 3
    assert counts.by_type["system"] == 3
    assert counts.by_severity["warning"] >= 3
    assert counts.total == sum(counts.by_action.values()) == sum(counts.by_type.values())
    later = audit_pb2.GetAuditStatisticsRequest(from_date=at(datetime.now(UTC) + timedelta(minutes=1)))
    assert (await server.call(server.audit.GetAuditStatistics, later, people.root)).total == 0


async def exported(server: AdminServer, bearer: str, **filters: object) -> list[dict[str, object]]:
    asked = RequestContext("r-1", caller=Caller("x", "user"), token=bearer)
    with bind(asked):
        chunks = [
            chunk.data async for chunk in server.audit.ExportAuditEvents(audit_pb2.ExportAuditEventsRequest(**filters))
        ]
    return [orjson.loads(line) for line in b"".join(chunks).splitlines()]


async def test_an_export_holds_everything_and_is_logged_itself(server: AdminServer, people: People):
    for number in range(5):
        await server.record("counted", details={"number": number})
    await server.events_until(people.root, 5, event_action="counted")
    lines = await exported(server, people.root)
    assert [line["position"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["event_action"] == "audit_exported"
    assert lines[-1]["user_id"] == people.root_id
    assert lines[-1]["actor_id"] is None
    some = await exported(server, people.root, event_action="counted")
    assert [line["details"]["number"] for line in some] == [0, 1, 2, 3, 4]


async def test_an_export_can_be_checked_by_whoever_has_it(server: AdminServer, people: People):
    """As docs/audit-events.md tells it, with nothing of this system but the published key."""
    await server.record("counted", details={"ü": [1.5, None, 2**53 + 1]})
    await server.events_until(people.root, 1, event_action="counted")
    checkpoint = Checkpoint(**orjson.loads(await server.redis.hget("audit:checkpoint", "checkpoint")))
    previous = "0" * 64
    hashes = {}
    for line in await exported(server, people.root):
        assert line["previous"] == previous
        row = {key: value for key, value in line.items() if key != "hash" and value is not None}
        row["details"] = orjson.dumps(row["details"]).decode()
        previous = hashlib.sha256(orjson.dumps(row, option=orjson.OPT_SORT_KEYS)).hexdigest()
        assert line["hash"] == previous
        hashes[line["position"]] = previous
    keys = await server.call(server.audit.GetCheckpointKeys, audit_pb2.GetCheckpointKeysRequest())
    assert hashes[checkpoint.position] == checkpoint.hash
    assert [key["kid"] for key in orjson.loads(keys.data)["keys"]] == [checkpoint.key_id]


async def test_what_cannot_be_read_is_set_aside_and_holds_nothing_up(server: AdminServer, people: People):
    await server.redis.xadd("events:audit", {"event": b"\xff\xff not an event"})
    await server.record("counted")
    await server.events_until(people.root, 1, event_action="counted")
    assert (await server.verify(people.root)).ok
