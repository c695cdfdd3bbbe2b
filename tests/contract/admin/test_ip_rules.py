"""IP rules: made, refused, published, ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from fastcms.admin.v1 import ip_rules_pb2
from fastcms_common import redis_keys
from fastcms_common.address_rules import AddressRule, decode
from fastcms_common.errors import Conflict, Denied, Invalid, NotFound
from tests.contract.admin.conftest import People
from tests.contract.admin.server import AdminServer, admin_server


def at(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def soon(**span: float) -> Timestamp:
    return at(datetime.now(UTC) + timedelta(**span))


async def create(server: AdminServer, bearer: str, cidr: str, rule_type: str = "block", ip: str = "10.0.0.9", **more):
    request = ip_rules_pb2.CreateIpRuleRequest(cidr=cidr, rule_type=rule_type, **more)
    return await server.call(server.ip_rules.CreateIpRule, request, bearer, ip=ip)


async def delete(server: AdminServer, bearer: str, rule_id: str, **more):
    return await server.call(server.ip_rules.DeleteIpRule, ip_rules_pb2.DeleteIpRuleRequest(id=rule_id, **more), bearer)


async def listed(server: AdminServer, bearer: str, **more) -> ip_rules_pb2.ListIpRulesResponse:
    return await server.call(server.ip_rules.ListIpRules, ip_rules_pb2.ListIpRulesRequest(**more), bearer)


async def published(server: AdminServer) -> dict[str, AddressRule]:
    rules = await server.redis.hgetall(redis_keys.IP_RULES)
    return {key.decode(): decode(rule) for key, rule in rules.items()}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(15):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_a_rule_is_kept_and_published_before_the_answer(server: AdminServer, people: People):
    ends = soon(hours=1)
    rule = await create(server, people.root, "192.0.2.0/24", reason="spam", expires_at=ends)
    assert (rule.cidr, rule.rule_type, rule.reason, rule.created_by) == (
        "192.0.2.0/24",
        "block",
        "spam",
        people.root_id,
    )
    copy = (await published(server))[rule.id]
    assert (copy.cidr, copy.rule_type, copy.reason) == ("192.0.2.0/24", "block", "spam")
    assert copy.expires == pytest.approx(ends.seconds + ends.nanos / 1e9)
    got = await server.call(server.ip_rules.GetIpRule, ip_rules_pb2.GetIpRuleRequest(id=rule.id), people.root)
    assert got == rule


async def test_workers_are_told(server: AdminServer, people: People):
    async with server.redis.pubsub() as pubsub:
        await pubsub.subscribe(redis_keys.IP_RULES_CHANGED)
        await until(lambda: _is_subscribed(pubsub))
        await create(server, people.root, "192.0.2.0/24")
        message = None
        async with asyncio.timeout(1):
            while message is None or message["type"] != "message":
                message = await pubsub.get_message(timeout=1)
        assert message["data"] == await server.redis.get(redis_keys.IP_RULES_VERSION)


async def _is_subscribed(pubsub) -> bool:
    message = await pubsub.get_message(timeout=1)
    return message is not None and message["type"] == "subscribe"


async def test_the_newest_is_listed_first_and_pages_do_not_overlap(server: AdminServer, people: People):
    for number in range(5):
        await create(server, people.root, f"192.0.2.{number}", "block" if number % 2 else "allow", force=True)
    seen = []
    for page in (1, 2, 3):
        answer = await listed(server, people.root, page=page, per_page=2)
        assert (answer.total, answer.page, answer.per_page, answer.total_pages) == (5, page, 2, 3)
        seen += [rule.cidr for rule in answer.items]
    assert seen == [f"192.0.2.{number}/32" for number in (4, 3, 2, 1, 0)]
    assert (await listed(server, people.root, rule_type="allow")).total == 3


@pytest.mark.parametrize("cidr", ["10.0.0.1/8", "nonsense", "10.0.0.0/33", "::/129", "fe80::1%eth0"])
async def test_a_bad_network_is_named(server: AdminServer, people: People, cidr: str):
    with pytest.raises(Invalid) as caught:
        await create(server, people.root, cidr)
    assert [field.field for field in caught.value.fields] == ["cidr"]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"cidr": ""}, "cidr"),
        ({"rule_type": ""}, "rule_type"),
        ({"rule_type": "maybe"}, "rule_type"),
        ({"reason": "x" * 201}, "reason"),
        ({"expires_at": at(datetime(2020, 1, 1, tzinfo=UTC))}, "expires_at"),
    ],
)
async def test_a_bad_field_is_named(server: AdminServer, people: People, more: dict, field: str):
    with pytest.raises(Invalid) as caught:
        await create(server, people.root, **({"cidr": "192.0.2.0/24"} | more))
    assert [problem.field for problem in caught.value.fields] == [field]


async def test_the_same_rule_twice_is_a_conflict_however_it_is_spelled(server: AdminServer, people: People):
    await create(server, people.root, "192.0.2.1")
    with pytest.raises(Conflict) as caught:
        await create(server, people.root, "::ffff:192.0.2.1")
    assert caught.value.reason == "IP_RULE_EXISTS"
    await create(server, people.root, "192.0.2.1", "allow", force=True)


@pytest.mark.parametrize(("cidr", "rule_type"), [("10.0.0.0/8", "block"), ("192.0.2.0/24", "allow")])
async def test_a_rule_that_shuts_out_its_maker_has_to_be_forced(
    server: AdminServer, people: People, cidr: str, rule_type: str
):
    with pytest.raises(Conflict) as caught:
        await create(server, people.root, cidr, rule_type)
    assert caught.value.reason == "SELF_LOCKOUT"
    assert await published(server) == {}
    rule = await create(server, people.root, cidr, rule_type, force=True)
    assert rule.id in await published(server)


async def test_to_remove_the_rule_that_lets_one_in_has_to_be_forced(server: AdminServer, people: People):
    own = await create(server, people.root, "10.0.0.0/8", "allow")
    await create(server, people.root, "192.0.2.0/24", "allow")
    with pytest.raises(Conflict) as caught:
        await delete(server, people.root, own.id)
    assert caught.value.reason == "SELF_LOCKOUT"
    await delete(server, people.root, own.id, force=True)
    assert own.id not in await published(server)


async def test_a_removed_rule_is_gone(server: AdminServer, people: People):
    rule = await create(server, people.root, "192.0.2.0/24")
    await delete(server, people.root, rule.id)
    assert await published(server) == {}
    assert (await listed(server, people.root)).total == 0
    with pytest.raises(NotFound):
        await delete(server, people.root, rule.id)
    with pytest.raises(NotFound):
        await server.call(server.ip_rules.GetIpRule, ip_rules_pb2.GetIpRuleRequest(id=rule.id), people.root)


async def test_changes_are_in_the_log(server: AdminServer, people: People):
    rule = await create(server, people.root, "192.0.2.0/24", reason="spam")
    await delete(server, people.root, rule.id)
    for action in ("ip_rule_created", "ip_rule_deleted"):
        (event,) = await server.events_until(people.root, 1, event_action=action)
        assert (event.user_id, event.resource_type, event.resource_id) == (people.root_id, "ip_rule", rule.id)
        assert b"192.0.2.0/24" in event.details


async def test_users_make_none(server: AdminServer, people: People):
    with pytest.raises(Denied):
        await create(server, people.user, "192.0.2.0/24")


async def cleaned_up(server: AdminServer, token: int) -> int:
    bearer = await server.auth.service_token("scheduler-service")
    request = ip_rules_pb2.DeleteExpiredIpRulesRequest(fencing_token=token)
    return int((await server.call(server.ip_rules.DeleteExpiredIpRules, request, bearer)).deleted)


async def test_rules_whose_time_is_over_are_dropped_and_no_others(server: AdminServer, people: People):
    await create(server, people.root, "192.0.2.0/24")
    await create(server, people.root, "198.51.100.0/24", expires_at=soon(hours=1))
    over = await create(server, people.root, "203.0.113.0/24", expires_at=soon(seconds=0.3))
    await until(lambda: _is_over(over))
    assert await cleaned_up(server, 1) == 1
    assert over.id not in await published(server)
    assert (await listed(server, people.root)).total == 2
    assert await cleaned_up(server, 1) == 0


async def _is_over(rule: ip_rules_pb2.IpRule) -> bool:
    return datetime.now(UTC) > rule.expires_at.ToDatetime(tzinfo=UTC)


async def test_a_rule_that_is_over_is_no_obstacle_to_the_next(server: AdminServer, people: People):
    over = await create(server, people.root, "203.0.113.0/24", expires_at=soon(seconds=0.2))
    await until(lambda: _is_over(over))
    rule = await create(server, people.root, "203.0.113.0/24")
    assert list(await published(server)) == [rule.id]


async def test_a_job_that_has_lost_its_lease_does_nothing(server: AdminServer, people: People):
    assert await cleaned_up(server, 7) == 0
    with pytest.raises(Conflict) as caught:
        await cleaned_up(server, 6)
    assert caught.value.reason == "LEASE_LOST"


async def test_only_services_clean_up(server: AdminServer, people: People):
    with pytest.raises(Denied):
        await server.call(server.ip_rules.DeleteExpiredIpRules, ip_rules_pb2.DeleteExpiredIpRulesRequest(), people.root)


async def test_a_copy_that_redis_lost_is_made_again(server: AdminServer, people: People):
    rule = await create(server, people.root, "192.0.2.0/24")
    await server.redis.delete(redis_keys.IP_RULES, redis_keys.IP_RULES_VERSION)
    await until(lambda: _holds(server, {rule.id}))


async def test_a_restart_corrects_the_copy(server: AdminServer, people: People, tmp_path: Path):
    rule = await create(server, people.root, "192.0.2.0/24")
    await server.redis.hset(redis_keys.IP_RULES, "stray", b'["198.51.100.0/24","block",null,null]')
    await server.redis.hdel(redis_keys.IP_RULES, rule.id)
    async with admin_server(server.auth, tmp_path, server.settings.storage_url):
        await until(lambda: _holds(server, {rule.id}))


async def _holds(server: AdminServer, ids: set[str]) -> bool:
    return set(await published(server)) == ids
