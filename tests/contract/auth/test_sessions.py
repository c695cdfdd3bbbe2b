"""Sessions: listing, refreshing, ending."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from auth_service.sessions import GRACE_SECONDS
from fastcms.auth.v1 import auth_pb2
from fastcms_common.errors import NotFound, Unauthenticated
from tests.contract.auth.server import EMAIL, AuthServer, auth_server
from tests.redis_process import RedisProcess


async def listed(server: AuthServer, bearer: str) -> list[auth_pb2.Session]:
    answer = await server.call(server.auth.ListSessions, auth_pb2.ListSessionsRequest(), bearer)
    return list(answer.sessions)


async def test_each_sign_in_is_a_session_the_newest_first(server: AuthServer):
    first = await server.register()
    second = await server.login(ip="2001:db8::1")
    shown = await listed(server, second.access_token)
    assert [one.current for one in shown] == [True, False]
    assert [one.ip_address for one in shown] == ["2001:db8::1", "10.0.0.9"]
    assert {one.user_agent for one in shown} == {"test agent"}
    assert shown[0].created == shown[0].last_used
    assert [one.current for one in await listed(server, first.access_token)] == [False, True]


async def test_using_a_session_moves_its_last_use_and_nothing_else(tmp_path: Path, redis_url: str):
    async with auth_server(tmp_path, redis_url) as server:
        answer = await server.register()
        (key,) = await server.redis.keys("session:*")
        long_ago = "2026-01-01T00:00:00.000000Z"
        await server.redis.hset(key, "last_used", long_ago)
        before, ttl = await server.redis.hgetall(key), await server.redis.pttl(key)
    # A process that has not asked about this session lately.
    async with auth_server(tmp_path, redis_url) as server:
        for _ in range(3):
            await server.me(answer.access_token)
        after = await server.redis.hgetall(key)
        (session,) = await listed(server, answer.access_token)
        assert 0 < await server.redis.pttl(key) <= ttl
    assert {name for name in after if after[name] != before[name]} == {b"last_used"}
    assert abs(session.last_used.seconds - time.time()) < 10


async def test_a_use_that_was_noted_a_moment_ago_is_not_written_again(server: AuthServer):
    answer = await server.register()
    (key,) = await server.redis.keys("session:*")
    noted = await server.redis.hget(key, "last_used")
    await server.me(answer.access_token)
    assert await server.redis.hget(key, "last_used") == noted


async def test_asking_about_a_session_that_has_ended_does_not_bring_it_back(server: AuthServer):
    answer = await server.register()
    (key,) = await server.redis.keys("session:*")
    await server.redis.delete(key)
    with pytest.raises(Unauthenticated):
        await server.me(answer.access_token)
    assert not await server.redis.exists(key)


async def test_a_refresh_rotates_the_token_and_keeps_the_session(server: AuthServer):
    first = await server.register()
    second = await server.refresh(first.refresh_token)
    third = await server.refresh(second.refresh_token)
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    assert len({first.access_token, second.access_token, third.access_token}) == 3
    assert (await server.me(third.access_token))["email"] == EMAIL
    (session,) = await listed(server, third.access_token)
    assert session.last_used.ToDatetime() > session.created.ToDatetime()


async def test_a_second_use_within_the_grace_gives_the_same_successor(server: AuthServer):
    first = await server.register()
    once, again = await server.refresh(first.refresh_token), await server.refresh(first.refresh_token)
    assert once.refresh_token == again.refresh_token
    assert (await server.refresh(again.refresh_token)).access_token


async def test_a_use_after_the_grace_is_theft_and_ends_the_session(server: AuthServer):
    first = await server.register()
    second = await server.refresh(first.refresh_token)
    (key,) = await server.redis.keys("session:*")
    await server.redis.hincrby(key, "rotated", -int(GRACE_SECONDS * 1000) - 1)
    for token in (first.refresh_token, second.refresh_token):
        with pytest.raises(Unauthenticated) as refused:
            await server.refresh(token)
        assert refused.value.reason == "REFRESH_TOKEN_INVALID"
    with pytest.raises(Unauthenticated):
        await server.me(second.access_token)
    (event,) = await server.audit("refresh_token_reused")
    assert (event.severity, event.user_email) == ("critical", EMAIL)


async def test_the_grandparent_of_the_current_token_is_theft_even_within_the_grace(server: AuthServer):
    first = await server.register()
    second = await server.refresh(first.refresh_token)
    third = await server.refresh(second.refresh_token)
    with pytest.raises(Unauthenticated):
        await server.refresh(first.refresh_token)
    with pytest.raises(Unauthenticated):
        await server.me(third.access_token)


async def test_a_made_up_token_ends_nobodys_session(server: AuthServer):
    answer = await server.register()
    token = answer.refresh_token
    flipped = token[:60] + ("A" if token[60] != "A" else "B") + token[61:]
    for wrong in (flipped, token[:-1], token + "A", "x", "é", "a" * 512, token.upper()):
        with pytest.raises(Unauthenticated):
            await server.refresh(wrong)
    assert (await server.refresh(token)).access_token


async def test_tokens_are_not_in_redis(server: AuthServer):
    answer = await server.refresh((await server.register()).refresh_token)
    dump = b""
    for key in await server.redis.keys("session:*"):
        dump += b"".join((await server.redis.hgetall(key)).values())
    assert answer.refresh_token.encode() not in dump
    assert answer.refresh_token.split(".")[-1][-22:].encode() not in dump


async def test_revoking_one_session_leaves_the_others(server: AuthServer):
    first, second = await server.register(), await server.login()
    (other,) = [one.id for one in await listed(server, first.access_token) if not one.current]
    revoke = auth_pb2.RevokeSessionRequest(id=other)
    await server.call(server.auth.RevokeSession, revoke, first.access_token)
    with pytest.raises(Unauthenticated):
        await server.me(second.access_token)
    with pytest.raises(Unauthenticated):
        await server.refresh(second.refresh_token)
    assert (await server.me(first.access_token))["email"] == EMAIL
    with pytest.raises(NotFound):
        await server.call(server.auth.RevokeSession, revoke, first.access_token)


async def test_somebody_elses_session_is_not_found(server: AuthServer):
    root = await server.register()
    other = await server.register("other@example.com", bearer=root.access_token)
    (session,) = await listed(server, root.access_token)
    with pytest.raises(NotFound):
        await server.call(server.auth.RevokeSession, auth_pb2.RevokeSessionRequest(id=session.id), other.access_token)
    assert await server.me(root.access_token)


async def test_ending_all_sessions_ends_this_one_too(server: AuthServer):
    tokens = [await server.register(), await server.login(), await server.login()]
    await server.call(server.auth.RevokeAllSessions, auth_pb2.RevokeAllSessionsRequest(), tokens[0].access_token)
    for one in tokens:
        with pytest.raises(Unauthenticated):
            await server.me(one.access_token)


async def test_signing_out_ends_the_session_of_ones_own_refresh_token_too(server: AuthServer):
    first, second = await server.register(), await server.login()
    other = await server.register("other@example.com", bearer=first.access_token)
    out = auth_pb2.LogoutRequest(refresh_token=second.refresh_token)
    await server.call(server.auth.Logout, out, other.access_token)
    assert await server.me(second.access_token), "a stranger's token must not end it"
    await server.call(server.auth.Logout, out, first.access_token)
    with pytest.raises(Unauthenticated):
        await server.me(second.access_token)


async def test_a_revocation_is_felt_by_another_replica_within_100_ms(tmp_path: Path, redis_url: str):
    async with auth_server(tmp_path, redis_url) as one, auth_server(tmp_path, redis_url) as other:
        answer = await one.register()
        for _ in range(50):
            await other.me(answer.access_token)
        await one.call(one.auth.Logout, auth_pb2.LogoutRequest(), answer.access_token)
        ended = time.monotonic()
        with pytest.raises(Unauthenticated):
            while time.monotonic() - ended < 0.1:
                await other.me(answer.access_token)


async def test_sessions_survive_a_redis_that_is_killed(tmp_path: Path, redis_server: RedisProcess, redis_url: str):
    async with auth_server(tmp_path, redis_url) as server:
        answer = await server.register()
        redis_server.kill()
        redis_server.start()
        assert (await server.refresh(answer.refresh_token)).access_token
        assert (await server.me(answer.access_token))["email"] == EMAIL


async def test_a_token_from_moments_that_redis_lost_is_still_good(server: AuthServer):
    first = await server.register()
    (key,) = await server.redis.keys("session:*")
    before = await server.redis.hgetall(key)
    second = await server.refresh(first.refresh_token)
    await server.redis.hset(key, mapping=before)
    assert (await server.refresh(second.refresh_token)).access_token
