"""Mails handed to a real SMTP server, and what happens when it does not take them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword

from auth_service.mail_transports import MailNotTaken, smtp
from auth_service.store import MAILS, AuthStore
from fastcms.auth.v1 import credentials_pb2, identities_pb2
from fastcms_common import times
from fastcms_common.storage import Change, open_store
from tests.contract.auth.mailbox import html_of, text_of, token_of
from tests.contract.auth.server import EMAIL, AuthServer, auth_server
from tests.ports import free_port


class PostOffice:
    """An SMTP server that keeps what it gets, or answers with `refusal`. `utf8`: it speaks RFC 6531."""

    def __init__(self, *, utf8: bool = False) -> None:
        self.utf8 = utf8
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.users: list[bytes] = []
        self.refusal = ""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: list[str]) -> str:
        if self.refusal:
            return self.refusal
        envelope.rcpt_tos.append(address)
        self.recipients.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        self.mails.append(message_from_bytes(envelope.content, policy=default))  # type: ignore[arg-type]
        return "250 OK"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.users.append(data.login)
        return AuthResult(success=(data.login, data.password) == (b"post", b"s@crt"))

    @asynccontextmanager
    async def open(self, port: int) -> AsyncIterator[None]:
        server = await asyncio.get_running_loop().create_server(
            lambda: SMTP(
                self,
                authenticator=self.authenticate,
                auth_require_tls=False,
                hostname="localhost",
                enable_SMTPUTF8=self.utf8,
            ),
            "127.0.0.1",
            port,
        )
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def server(tmp_path: Path, redis_url: str, port: int) -> AsyncIterator[AuthServer]:
    more = {"smtp_url": f"smtp://post:s%40crt@127.0.0.1:{port}", "mail_from": "FastCMS <cms@example.org>"}
    async with auth_server(tmp_path, redis_url, **more) as running:
        await running.register()
        yield running


async def ask(server: AuthServer, email: str = EMAIL) -> None:
    request = credentials_pb2.RequestPasswordResetRequest(email=email)
    await server.call(server.credentials.RequestPasswordReset, request)


async def until(condition: Any) -> None:
    async with asyncio.timeout(15):
        while not await condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def database(server: AuthServer) -> AsyncIterator[AuthStore]:
    store = AuthStore(await open_store(server.settings.storage_url, "auth"))
    await store.prepare()
    try:
        yield store
    finally:
        await store.close()


async def test_a_mail_arrives_as_text_and_html(server: AuthServer, port: int):
    office = PostOffice()
    async with office.open(port):
        await ask(server)

        async def arrived() -> bool:
            return bool(office.mails)

        await until(arrived)
    (mail,) = office.mails
    assert (mail["From"], mail["To"], mail["Subject"]) == ("FastCMS <cms@example.org>", EMAIL, "Reset your password")
    assert mail["Message-ID"].endswith("@example.org>")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert token_of(mail) in html_of(mail)
    assert "within one hour" in text_of(mail)
    assert office.users == [b"post"]


@pytest.mark.parametrize(
    ("email", "utf8", "recipient"),
    [
        ("zoë@exämple.example", True, "zoë@exämple.example"),
        ("zoe@exämple.example", False, "zoe@xn--exmple-cua.example"),
    ],
)
async def test_an_address_beyond_ascii_gets_its_mail(
    server: AuthServer, port: int, email: str, utf8: bool, recipient: str
):
    root = await server.login()
    await server.register(email, bearer=root.access_token)
    office = PostOffice(utf8=utf8)
    async with office.open(port):
        await ask(server, email)

        async def arrived() -> bool:
            return bool(office.mails)

        await until(arrived)
    assert office.recipients == [recipient]
    assert email in text_of(office.mails[0])


async def test_a_sender_beyond_ascii_is_one_to_every_server(tmp_path: Path, redis_url: str, port: int):
    more = {"smtp_url": f"smtp://127.0.0.1:{port}", "mail_from": "Bücher <cms@bücher.example>"}
    office = PostOffice()
    async with office.open(port), auth_server(tmp_path, redis_url, **more) as server:
        await server.register()
        await ask(server)

        async def arrived() -> bool:
            return bool(office.mails)

        await until(arrived)
    assert office.mails[0]["From"] == "Bücher <cms@xn--bcher-kva.example>"


async def test_a_mail_that_cannot_be_said_to_any_server_is_given_up(port: int):
    office, message = PostOffice(utf8=True), EmailMessage()
    message["From"], message["To"] = "cms@example.org", "zo\udcc3\udcab@example.org"
    async with office.open(port):
        with pytest.raises(MailNotTaken) as caught:
            await smtp(f"smtp://127.0.0.1:{port}")(message)
    assert caught.value.forever
    assert not office.recipients


async def test_a_mail_waits_for_a_server_that_is_away_and_is_sent_by_the_job(server: AuthServer, port: int):
    await ask(server)
    async with database(server) as store:

        async def put_off() -> bool:
            # While it is being tried it is due in two minutes, once that has failed in one.
            soon = times.to_text(times.now() + timedelta(seconds=90))
            waiting = await store.storage.find(MAILS.name)
            return bool(waiting) and waiting[0]["attempts"] == 1 and times.now_text() < waiting[0]["due"] < soon

        await until(put_off)
        (waiting,) = await store.storage.find(MAILS.name)
        assert EMAIL not in str(waiting), "nothing in it can be read"
        await store.storage.update(MAILS.name, waiting["id"], Change(set={"due": times.now_text()}))
        office = PostOffice()
        async with office.open(port):
            request = identities_pb2.SendPendingMailRequest(fencing_token=1)
            done = await server.call(server.identities.SendPendingMail, request, await server.service_token())
        assert (done.sent, done.failed) == (1, 0)
        assert len(office.mails) == 1
        assert await store.storage.count(MAILS.name) == 0


async def test_a_mail_that_is_refused_for_good_is_given_up_and_audited(server: AuthServer, port: int):
    office = PostOffice()
    office.refusal = "550 No such user here"
    async with office.open(port), database(server) as store:
        await ask(server)

        async def audited() -> bool:
            return bool(await server.audit("mail_failed"))

        await until(audited)
        assert await store.storage.count(MAILS.name) == 0
    (event,) = await server.audit("mail_failed")
    assert event.outcome == "error"


async def test_a_mail_that_is_refused_for_now_is_kept(server: AuthServer, port: int):
    office = PostOffice()
    office.refusal = "450 Try again later"
    async with office.open(port), database(server) as store:
        await ask(server)

        async def put_off() -> bool:
            waiting = await store.storage.find(MAILS.name)
            return bool(waiting) and waiting[0]["attempts"] == 1 and waiting[0]["due"] > times.now_text()

        await until(put_off)
    assert await server.audit("mail_failed") == []


async def test_no_password_crosses_a_line_that_should_be_encrypted(tmp_path: Path, redis_url: str, port: int):
    office = PostOffice()
    url = f"smtp://post:s%40crt@127.0.0.1:{port}?starttls=required"
    async with office.open(port), auth_server(tmp_path, redis_url, smtp_url=url) as server, database(server) as store:
        await server.register()
        await ask(server)

        async def tried() -> bool:
            waiting = await store.storage.find(MAILS.name)
            return bool(waiting) and waiting[0]["attempts"] == 1 and waiting[0]["due"] > times.now_text()

        await until(tried)
    assert office.users == []
    assert office.mails == []


@pytest.mark.parametrize("url", ["http://host", "smtp://", "smtp://host?starttls=maybe", "host:25"])
def test_a_bad_address_of_a_server_is_refused_at_start(url: str):
    with pytest.raises(ValueError, match=r"SMTP_URL|starttls"):
        smtp(url)
