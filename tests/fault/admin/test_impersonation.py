"""No audit row, no token."""

from __future__ import annotations

from pathlib import Path

import pytest

from admin_service.store import AdminStore
from fastcms_common import redis_keys
from fastcms_common.errors import Unavailable
from fastcms_common.storage import Document
from tests.contract.admin.conftest import make_people
from tests.contract.admin.server import admin_server
from tests.contract.auth.server import auth_server


async def test_a_start_that_cannot_be_written_down_gives_no_token(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
):
    async with auth_server(tmp_path, redis_url) as auth, admin_server(auth, tmp_path) as server:
        people = await make_people(server)
        sessions = redis_keys.sessions_of(people.user_id)
        before = await server.redis.zrange(sessions, 0, -1)
        opened: list[bytes] = []

        async def full(_: AdminStore, row: Document) -> None:
            if row["event_action"] == "impersonation_started":
                opened.extend(set(await server.redis.zrange(sessions, 0, -1)) - set(before))
                raise Unavailable("The disk is full.")
            await add_event(_, row)

        add_event = AdminStore.add_event
        monkeypatch.setattr(AdminStore, "add_event", full)
        with pytest.raises(Unavailable) as caught:
            await server.impersonate(people.user_id, people.root)
        assert caught.value.reason == "AUDIT_UNAVAILABLE"
        assert len(opened) == 1
        assert not await server.redis.exists(redis_keys.session(opened[0].decode()))
        monkeypatch.setattr(AdminStore, "add_event", add_event)
        assert (await server.events(people.root, event_action="impersonation_started")).total == 0
        assert (await server.impersonate(people.user_id, people.root)).access_token
