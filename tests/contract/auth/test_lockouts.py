"""Locking accounts: the seed's answers, the same for accounts that do not exist."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from fastcms.auth.v1 import auth_pb2, identities_pb2, settings_pb2
from fastcms_common.errors import Denied, NotFound, Unauthenticated
from fastcms_common.ids import new_id
from tests.contract.auth.server import EMAIL, PASSWORD, AuthServer, auth_server


@pytest.fixture
async def server(tmp_path: Path, redis_url: str) -> AsyncIterator[AuthServer]:
    async with auth_server(tmp_path, redis_url, account_lockout_attempts=3, account_lockout_duration=1742) as running:
        yield running


async def fail(server: AuthServer, times: int, email: str = EMAIL) -> None:
    for _ in range(times):
        with pytest.raises(Unauthenticated):
            await server.login(email, "wrong")


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.com"])
async def test_too_many_failures_lock_whether_or_not_there_is_an_account(server: AuthServer, email: str):
    await server.register()
    await fail(server, 3, email)
    for password in ("wrong", PASSWORD):
        with pytest.raises(Denied) as refused:
            await server.login(email, password)
        found = re.fullmatch(r"Account locked\. Try again in (\d+) seconds\.", refused.value.detail)
        assert found
        assert int(found[1]) in (1741, 1742)
        assert refused.value.reason == "ACCOUNT_LOCKED"
        assert refused.value.retry_after == int(found[1])
    (event,) = await server.audit("account_locked")
    assert (event.user_email, event.ip_address) == (email, "10.0.0.9")


async def test_a_success_forgets_the_failures(server: AuthServer):
    await server.register()
    for _ in range(3):
        await fail(server, 2)
        assert (await server.login()).access_token


async def test_a_lock_ends_by_itself_and_the_count_begins_anew(tmp_path: Path, redis_url: str):
    async with auth_server(tmp_path, redis_url, account_lockout_attempts=2, account_lockout_duration=1) as server:
        await server.register()
        await fail(server, 2)
        while True:
            try:
                await server.login(password="wrong")
            except Denied:
                continue
            except Unauthenticated:
                break
        assert (await server.login()).access_token


@pytest.mark.parametrize(("password", "failures"), [(PASSWORD, 0), ("wrong", 1)])
async def test_who_hangs_up_is_counted_for_what_they_guessed(
    tmp_path: Path, redis_url: str, password: str, failures: int
):
    async with auth_server(tmp_path, redis_url, password_threads=1, password_queue=100) as server:
        root = await server.register()
        key = f"lockout:users:{hashlib.sha256(EMAIL.encode()).hexdigest()}"
        # Others are before them in the queue for the one thread.
        others = [asyncio.create_task(server.login(f"{n}@example.com", "wrong")) for n in range(10)]
        guess = asyncio.create_task(server.login(password=password))
        async with asyncio.timeout(20):
            while not any(name.startswith(b"guess:") for name in await server.redis.hkeys(key)):
                await asyncio.sleep(0.001)
        guess.cancel()
        with pytest.raises(asyncio.CancelledError):
            await guess
        # Long before the fifteen seconds after which a guess without a verdict is a failure.
        async with asyncio.timeout(12):
            while any(name.startswith(b"guess:") for name in await server.redis.hkeys(key)):
                await asyncio.sleep(0.01)
        assert int(await server.redis.hget(key, "failed") or 0) == failures
        assert len(await server.audit("login_failed")) >= failures
        await asyncio.gather(*others, return_exceptions=True)
        sessions = await server.call(server.auth.ListSessions, auth_pb2.ListSessionsRequest(), root.access_token)
        assert len(sessions.sessions) == 1, "nobody is signed in who has gone"


async def test_nothing_locks_where_locking_is_off(tmp_path: Path, redis_url: str):
    async with auth_server(tmp_path, redis_url, account_lockout_enabled=False, account_lockout_attempts=1) as server:
        await server.register()
        await fail(server, 4)
        assert (await server.login()).access_token


async def test_a_success_while_locking_is_off_opens_a_lock_of_before(server: AuthServer):
    root = (await server.register()).access_token
    await fail(server, 3)

    async def switch(on: bool) -> None:
        request = settings_pb2.UpdateAuthSettingsRequest(account_lockout_enabled=on)
        request.update_mask.paths.append("account_lockout_enabled")
        await server.call(server.live_settings.UpdateAuthSettings, request, root)

    await switch(False)
    assert (await server.login()).access_token
    await switch(True)
    assert (await server.login()).access_token


async def test_admins_see_the_lock_and_open_it(server: AuthServer):
    root = await server.register()
    user = await server.register("user@example.com", bearer=root.access_token, role="user")
    user_id = orjson.loads(user.user)["id"]
    ask = identities_pb2.GetLockStatusRequest(id=user_id)
    status = await server.call(server.identities.GetLockStatus, ask, root.access_token)
    assert (status.user_id, status.is_locked, status.failed_login_attempts) == (user_id, False, 0)
    assert not status.HasField("locked_until")
    await fail(server, 3, "user@example.com")
    status = await server.call(server.identities.GetLockStatus, ask, root.access_token)
    assert (status.is_locked, status.failed_login_attempts) == (True, 3)
    assert 1740 <= status.remaining_seconds <= 1742
    assert status.HasField("locked_until")
    unlock = identities_pb2.UnlockIdentityRequest(id=user_id)
    opened = await server.call(server.identities.UnlockIdentity, unlock, root.access_token)
    assert (opened.email, opened.collection, opened.failed_login_attempts) == ("user@example.com", "users", 0)
    assert not opened.HasField("locked_until")
    assert (await server.login("user@example.com")).access_token
    for refused_id in (new_id(), "nonsense"):
        with pytest.raises(NotFound):
            await server.call(
                server.identities.UnlockIdentity,
                identities_pb2.UnlockIdentityRequest(id=refused_id),
                root.access_token,
            )
    with pytest.raises(Denied):
        await server.call(server.identities.GetLockStatus, ask, user.access_token)
