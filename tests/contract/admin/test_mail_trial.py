"""An admin tries the mail settings, and hears what the mail server said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from google.protobuf.field_mask_pb2 import FieldMask

from fastcms.admin.v1 import settings_pb2, settings_pb2_grpc
from fastcms.auth.v1 import settings_pb2 as auth_settings_pb2
from fastcms_common.errors import Conflict, Denied, Invalid
from tests.contract.admin.conftest import People
from tests.contract.admin.server import AdminServer
from tests.contract.auth.mailbox import Mailbox
from tests.ports import free_port

pytestmark = pytest.mark.parametrize("storage", ["sqlite"], indirect=True)

TO = "desk@example.com"


class PostOffice:
    """A mail server that answers every recipient and every mail alike."""

    def __init__(self, recipient: str = "250 OK", mail: str = "250 kept as 17") -> None:
        self.recipient, self.mail = recipient, mail
        self.taken: list[Any] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        envelope.rcpt_tos.append(address)
        return self.recipient

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.taken.append(envelope)
        return self.mail

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        server = await asyncio.get_running_loop().create_server(
            lambda: SMTP(self, hostname="localhost"), "127.0.0.1", 0
        )
        try:
            yield f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}?starttls=off"
        finally:
            server.close()
            await server.wait_closed()


async def goes_to(server: AdminServer, people: People, url: str) -> None:
    request = settings_pb2.UpdateMailSettingsRequest(smtp_url=url, update_mask=FieldMask(paths=["smtp_url"]))
    stub: Any = settings_pb2_grpc.SettingsServiceStub(server.channel)
    await server.call(stub.UpdateMailSettings, request, people.root)


async def send(server: AdminServer, bearer: str, to: str = TO) -> auth_settings_pb2.SendTestMailResponse:
    request = auth_settings_pb2.SendTestMailRequest(to=to)
    return await server.call(server.auth.live_settings.SendTestMail, request, bearer)


async def refused(server: AdminServer, people: People) -> str:
    """What an admin is told where the mail was not taken."""
    with pytest.raises(Conflict) as caught:
        await send(server, people.admin)
    assert caught.value.reason == "MAIL_NOT_SENT"
    return caught.value.detail


async def test_a_mail_really_goes_out_by_what_was_set_a_moment_ago(server: AdminServer, people: People):
    office = PostOffice()
    async with office.open() as url:
        await goes_to(server, people, url)
        answer = await send(server, people.admin)
    assert (answer.to, answer.message) == (TO, "The mail server has taken the mail: kept as 17")
    (mail,) = office.taken
    assert mail.rcpt_tos == [TO]
    assert b"A test of the mail settings" in mail.content
    (event,) = await server.events_until(people.root, 1, event_action="mail_tested")
    assert (event.user_id, event.outcome, event.details) == (people.admin_id, "success", b'{"to":"desk@example.com"}')


@pytest.mark.parametrize(
    ("office", "words"),
    [
        (PostOffice(recipient="550 5.1.1 No such user here"), "550 5.1.1 No such user here"),
        (PostOffice(recipient="450 4.2.0 Greylisted"), "450 4.2.0 Greylisted"),
        (PostOffice(mail="554 5.7.1 It looks like spam"), "554 5.7.1 It looks like spam"),
    ],
)
async def test_a_refusal_is_told_in_the_servers_words(
    server: AdminServer, people: People, office: PostOffice, words: str
):
    async with office.open() as url:
        await goes_to(server, people, url)
        assert await refused(server, people) == f"The mail was not sent. {words}"
    (event,) = await server.events_until(people.root, 1, event_action="mail_tested")
    assert (event.outcome, event.error_message) == ("error", words)


async def test_a_server_that_is_not_there_is_told_as_such(server: AdminServer, people: People):
    await goes_to(server, people, f"smtp://127.0.0.1:{free_port()}")
    assert "cannot be reached" in await refused(server, people)


async def test_a_password_that_the_server_cannot_take_is_told_as_such(server: AdminServer, people: People):
    async with PostOffice().open() as url:
        await goes_to(server, people, url.replace("//", "//post:secret@"))
        told = await refused(server, people)
    assert "AUTH" in told
    assert "secret" not in told


async def test_what_answers_and_is_no_mail_server_is_not_quoted(
    server: AdminServer, people: People, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("auth_service.mails._TEST_PATIENCE", 0.5)
    redis = server.auth.settings.redis_url.rpartition("/")[0].removeprefix("redis://")
    await goes_to(server, people, f"smtp://{redis}?starttls=off")
    assert await refused(server, people) in (
        "The mail was not sent. What answers there is no mail server.",
        "The mail was not sent. The server ended the connection.",
        "The mail was not sent. The server did not answer in time.",
    )


async def test_without_a_server_the_mail_is_in_the_outbox(server: AdminServer, people: People):
    assert "outbox" in (await send(server, people.root)).message
    assert Mailbox(server.auth.settings.data_dir / "outbox").to(TO, "test")


async def test_what_is_no_address_is_refused_by_name(server: AdminServer, people: People):
    for wrong in ("nobody", "a@example.com, b@example.com", "a@example.com\r\nBcc: b@example.com", ""):
        with pytest.raises(Invalid) as caught:
            await send(server, people.root, wrong)
        assert [one.field for one in caught.value.fields] == ["to"]


async def test_only_admins_send_test_mails(server: AdminServer, people: People):
    acting = await server.impersonate(people.user_id, people.root)
    for bearer in (people.user, acting.access_token):
        with pytest.raises(Denied):
            await send(server, bearer)
