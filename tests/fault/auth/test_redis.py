"""With Redis away nobody is let in, and nobody is told a lie; when it is back everything goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fastcms.auth.v1 import auth_pb2
from fastcms_common.errors import DomainError, Unavailable
from tests.contract.auth.server import AuthServer, auth_server
from tests.redis_process import RedisProcess


async def works(server: AuthServer, bearer: str) -> bool:
    try:
        await server.me(bearer)
    except Unavailable:
        return False
    return True


async def test_a_redis_that_goes_and_comes_back(tmp_path: Path, redis_server: RedisProcess, redis_url: str):
    async with auth_server(tmp_path, redis_url) as server:
        answer = await server.register()
        redis_server.kill()
        try:
            # For a moment what is remembered is good; then nothing is.
            async with asyncio.timeout(10):
                while await works(server, answer.access_token):
                    await asyncio.sleep(0.05)
            for call in (
                server.login(),
                server.refresh(answer.refresh_token),
                server.call(server.auth.Logout, auth_pb2.LogoutRequest(), answer.access_token),
            ):
                with pytest.raises(DomainError) as refused:
                    await call
                assert refused.value.reason == "REDIS_UNAVAILABLE"
        finally:
            redis_server.start()
        async with asyncio.timeout(20):
            while not await works(server, answer.access_token):
                await asyncio.sleep(0.05)
        assert (await server.refresh(answer.refresh_token)).access_token
        assert (await server.login()).access_token
