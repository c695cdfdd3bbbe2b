"""Many at once: the bounds hold exactly."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from auth_service.passwords import computed
from fastcms.auth.v1 import auth_pb2, identities_pb2
from fastcms_common.errors import Conflict, Denied, DomainError, Unauthenticated
from tests.contract.auth.server import EMAIL, AuthServer, auth_server
from tests.mongo_server import ATOMIC_CHANGES, ONE_WINNER
from tests.storages import Storage, needs


@pytest.fixture
async def replicas(tmp_path: Path, redis_url: str, storage: Storage) -> AsyncIterator[list[AuthServer]]:
    """Two replicas of one service, on each storage engine."""
    shared = {"storage_url": storage.url}
    async with auth_server(tmp_path, redis_url, **shared) as one, auth_server(tmp_path, redis_url, **shared) as two:
        yield [one, two]


def checked() -> float:
    return computed.labels("verify")._value.get()


async def outcomes(*calls: Any) -> Counter[str]:
    answers = await asyncio.gather(*calls, return_exceptions=True)
    names = [one.reason if isinstance(one, DomainError) else "OK" for one in answers]
    for one in answers:
        if isinstance(one, BaseException) and not isinstance(one, DomainError):
            raise one
    return Counter(names)


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.com"])
async def test_of_100_parallel_wrong_guesses_five_are_checked(replicas: list[AuthServer], email: str):
    await replicas[0].register()
    before = checked()
    told = await outcomes(*(replicas[n % 2].login(email, f"wrong {n}") for n in range(100)))
    assert checked() - before == 5
    assert told == {"INVALID_CREDENTIALS": 5, "ACCOUNT_LOCKED": 95}
    assert len(await replicas[0].audit("account_locked")) == 1


async def test_parallel_sign_ins_with_the_right_password_lock_nobody_out(replicas: list[AuthServer]):
    await replicas[0].register()
    assert await outcomes(*(replicas[n % 2].login() for n in range(40))) == {"OK": 40}


async def test_of_50_parallel_first_registrations_one_makes_the_superadmin(replicas: list[AuthServer]):
    told = await outcomes(*(replicas[n % 2].register(f"p{n}@example.com") for n in range(50)))
    assert told == {"OK": 1, "REGISTRATION_CLOSED": 49}
    assert len(await replicas[0].audit("user_created")) == 1


async def test_of_50_parallel_registrations_of_one_address_one_wins(replicas: list[AuthServer]):
    root = await replicas[0].register()
    calls = (
        replicas[n % 2].register("same@example.com", bearer=root.access_token, role="user", name=str(n))
        for n in range(50)
    )
    assert await outcomes(*calls) == {"OK": 1, "EMAIL_TAKEN": 49}


async def test_20_parallel_refreshes_of_one_token_give_one_successor(replicas: list[AuthServer]):
    first = await replicas[0].register()
    answers = await asyncio.gather(*(replicas[n % 2].refresh(first.refresh_token) for n in range(20)))
    (successor,) = {one.refresh_token for one in answers}
    assert (await replicas[1].refresh(successor)).access_token


async def test_a_sign_out_during_refreshes_wins(replicas: list[AuthServer]):
    for _ in range(5):
        first = await replicas[0].register() if not await _exists(replicas[0]) else await replicas[0].login()

        async def refresh(n: int, token: str = first.refresh_token) -> auth_pb2.LoginAnswer:
            return await replicas[n % 2].refresh(token)

        async def out(token: str = first.access_token) -> None:
            await replicas[0].call(replicas[0].auth.Logout, auth_pb2.LogoutRequest(), token)

        answers = await asyncio.gather(*(refresh(n) for n in range(6)), out(), return_exceptions=True)
        for one in answers[:-1]:
            if isinstance(one, auth_pb2.LoginAnswer):
                with pytest.raises(Unauthenticated):
                    await replicas[0].me(one.access_token)
                with pytest.raises(Unauthenticated):
                    await replicas[0].refresh(one.refresh_token)


async def _exists(server: AuthServer) -> bool:
    try:
        await server.login()
    except Unauthenticated:
        return False
    return True


@needs(ONE_WINNER, ATOMIC_CHANGES)
async def test_of_20_parallel_starts_of_one_impersonation_one_grant_is_left(replicas: list[AuthServer]):
    root = await replicas[0].register()
    user = await replicas[0].register("user@example.com", bearer=root.access_token, role="user")
    service = await replicas[0].service_token()
    request = identities_pb2.StartImpersonationRequest(
        actor_token=root.access_token, target_id=orjson.loads(user.user)["id"], duration=60
    )

    async def start(server: AuthServer) -> str | None:
        try:
            return (await server.call(server.identities.StartImpersonation, request, service)).access_token
        except Conflict:
            return None

    tokens = await asyncio.gather(*(start(replicas[n % 2]) for n in range(20)))
    alive = 0
    for token in filter(None, tokens):
        try:
            await replicas[0].me(token)
            alive += 1
        except (Unauthenticated, Denied):
            continue
    assert alive == 1
    end = identities_pb2.EndImpersonationRequest(token=root.access_token)
    ended = await replicas[0].call(replicas[0].identities.EndImpersonation, end, service)
    assert len(ended.grants) == 1
