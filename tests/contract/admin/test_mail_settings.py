"""Mail goes where admins say, from the moment that they say it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from google.protobuf.field_mask_pb2 import FieldMask

from fastcms.admin.v1 import settings_pb2, settings_pb2_grpc, users_pb2
from tests.contract.admin.conftest import People
from tests.contract.admin.server import USER_EMAIL, AdminServer
from tests.ports import free_port

pytestmark = pytest.mark.parametrize("storage", ["sqlite"], indirect=True)


class Inbox:
    """A mail server that keeps what it gets."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:
        self.messages.append(envelope)
        return "250 kept"


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, str]]:
    inbox, port = Inbox(), free_port()
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield inbox, f"smtp://127.0.0.1:{port}?starttls=off"
    controller.stop()


async def test_a_mail_server_that_is_set_gets_the_mail(server: AdminServer, people: People, inbox: tuple[Inbox, str]):
    kept, url = inbox
    request = settings_pb2.UpdateMailSettingsRequest(
        smtp_url=url, mail_from="Desk <desk@example.com>", update_mask=FieldMask(paths=["smtp_url", "mail_from"])
    )
    stub: Any = settings_pb2_grpc.SettingsServiceStub(server.channel)
    await server.call(stub.UpdateMailSettings, request, people.root)
    async with asyncio.timeout(15):
        while not kept.messages:
            # Until auth-service has heard of it mail goes into its outbox: ask again.
            reset = users_pb2.RequestUserPasswordResetRequest(user_id=people.user_id)
            await server.call(server.users.RequestUserPasswordReset, reset, people.root)
            await asyncio.sleep(0.3)
    assert kept.messages[0].rcpt_tos == [USER_EMAIL]
    assert b"From: Desk <desk@example.com>" in kept.messages[0].content
