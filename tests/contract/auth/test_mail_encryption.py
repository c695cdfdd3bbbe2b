"""Mail over TLS, to a server with a certificate that was made for the test."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult

from auth_service.mail_transports import MailNotTaken, smtp
from tests.certificates import self_signed

Certificate = Callable[[str], ssl.SSLContext]


class PostOffice:
    """A mail server that takes mail from those who come over an encrypted line."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.encrypted: list[bool] = []
        self.passwords: list[bytes] = []

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        return "250 OK"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.passwords.append(data.password)
        return AuthResult(success=True)

    @asynccontextmanager
    async def open(self, *, implicit: bool) -> AsyncIterator[int]:
        """Its port. `implicit`: encrypted from the first byte on; else by STARTTLS (RFC 3207)."""

        def session() -> SMTP:
            return SMTP(
                self,
                hostname="localhost",
                authenticator=self.authenticate,
                auth_require_tls=not implicit,
                tls_context=None if implicit else self.context,
                require_starttls=not implicit,
            )

        loop = asyncio.get_running_loop()
        server = await loop.create_server(session, "127.0.0.1", 0, ssl=self.context if implicit else None)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            await server.wait_closed()


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """Makes a server's certificate for a host name; the system trusts the one for `localhost` alone."""

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return lambda name: self_signed(tmp_path, name)[1]


def trust(folder: Path, *names: str) -> None:
    (folder / "trusted.pem").write_bytes(b"".join((folder / f"{name}.pem").read_bytes() for name in names))


def url(port: int, *, implicit: bool) -> str:
    host = f"post:s%40crt@localhost:{port}"
    return f"smtps://{host}" if implicit else f"smtp://{host}?starttls=required"


def message() -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "cms@example.com", "ada@example.com", "A mail"
    mail.set_content("Words.")
    return mail


both = pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "starttls"])


@both
async def test_mail_and_password_travel_encrypted(tmp_path: Path, certificate: Certificate, implicit: bool):
    office = PostOffice(certificate("localhost"))
    trust(tmp_path, "localhost")
    async with office.open(implicit=implicit) as port:
        assert "taken the mail" in await smtp(url(port, implicit=implicit))(message())
    assert (office.encrypted, office.passwords) == ([True], [b"s@crt"])


@both
async def test_a_certificate_that_nobody_vouches_for_is_refused(
    tmp_path: Path, certificate: Certificate, implicit: bool
):
    office = PostOffice(certificate("localhost"))
    certificate("elsewhere.example")
    trust(tmp_path, "elsewhere.example")
    async with office.open(implicit=implicit) as port:
        with pytest.raises(MailNotTaken) as refused:
            await smtp(url(port, implicit=implicit))(message())
    assert "certificate is not trusted" in refused.value.words
    assert not refused.value.forever, "it may be put right"
    assert (office.encrypted, office.passwords) == ([], [])


@both
async def test_a_certificate_of_another_host_is_refused(tmp_path: Path, certificate: Certificate, implicit: bool):
    office = PostOffice(certificate("elsewhere.example"))
    trust(tmp_path, "elsewhere.example")
    async with office.open(implicit=implicit) as port:
        with pytest.raises(MailNotTaken) as refused:
            await smtp(url(port, implicit=implicit))(message())
    assert "certificate is not trusted: Hostname mismatch" in refused.value.words
    assert (office.encrypted, office.passwords) == ([], [])
