"""Starting and ending at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fastcms_common import redis_keys
from fastcms_common.errors import DomainError
from tests.contract.admin.conftest import make_people
from tests.contract.admin.server import admin_server
from tests.contract.auth.server import auth_server


async def test_fifty_starts_and_ends_at_once_leave_at_most_one_grant_and_every_token_in_the_log(
    tmp_path: Path, redis_url: str
):
    async with auth_server(tmp_path, redis_url) as auth, admin_server(auth, tmp_path) as server:
        people = await make_people(server)

        async def start_and_end(number: int) -> str | None:
            try:
                token = (await server.impersonate(people.user_id, people.root)).access_token
                if number % 2:
                    await server.end(token)
            except DomainError:
                # Outrun by another start, or ended by it.
                return None
            return token

        tokens = await asyncio.gather(*(start_and_end(number) for number in range(50)))
        assert any(tokens)
        alive = 0
        for token in filter(None, tokens):
            try:
                await server.auth.me(token)
                alive += 1
            except DomainError:
                continue
        assert alive <= 1
        started = await server.events(people.root, event_action="impersonation_started")
        assert started.total >= len([token for token in tokens if token])
        await server.end(people.root)
        impersonated = [
            session
            for session in await server.redis.zrange(redis_keys.sessions_of(people.user_id), 0, -1)
            if await server.redis.hexists(redis_keys.session(session.decode()), "actor")
        ]
        assert impersonated == []
        assert (await server.verify(people.root)).ok


async def test_of_fifty_ends_of_one_token_one_has_ended_it(tmp_path: Path, redis_url: str):
    async with auth_server(tmp_path, redis_url) as auth, admin_server(auth, tmp_path) as server:
        people = await make_people(server)
        token = (await server.impersonate(people.user_id, people.root)).access_token

        async def end() -> bool:
            try:
                return await server.end(token)
            except DomainError:
                return False

        assert sum(await asyncio.gather(*(end() for _ in range(50)))) == 1
        ended = await server.events_until(people.root, 1, event_action="impersonation_ended")
        assert len(ended) == 1
