"""Handing mails over: to an SMTP server, or to a folder."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from fastcms_common import times
from fastcms_common.logs import get_logger

# Seconds that the server may take for each step of the conversation, and for all of it.
STEP_TIMEOUT = 10.0
TIMEOUT = 60.0
# Code points of the server's words that are passed on.
_MAX_WORDS = 500

log = get_logger(__name__)

Transport = Callable[[EmailMessage], Awaitable[str]]
"""Hands a message over; a sentence on what became of it. Raises MailNotTaken where it could not be."""


class MailNotTaken(Exception):
    """The mail has not been handed over. `forever`: and the server says that it never will take it.

    `reason` is for the log. `words` are the server's own, which may quote the mail: they are for whoever has it sent.
    """

    def __init__(self, reason: str, *, forever: bool = False, words: str = "") -> None:
        super().__init__(reason)
        self.forever = forever
        self.words = words or reason


def smtp(url: str) -> Transport:
    """A transport to an SMTP server. ValueError for a URL that is not as `config.Settings.smtp_url` says."""
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError("SMTP_URL is smtp://[user:password@]host[:port] or smtps://…")
    tls = parts.scheme == "smtps"
    starttls = parse_qs(parts.query).get("starttls", ["auto"])[-1]
    if starttls not in ("auto", "required", "off"):
        raise ValueError("starttls in SMTP_URL is auto, required or off")
    # None lets the library use STARTTLS where the server has it.
    start_tls = {"auto": None, "required": True, "off": False}[starttls]

    async def send(message: EmailMessage) -> str:
        try:
            async with asyncio.timeout(TIMEOUT):
                _, answer = await aiosmtplib.send(
                    message,
                    hostname=parts.hostname,
                    port=parts.port or (465 if tls else 587),
                    username=unquote(parts.username) if parts.username else None,
                    password=unquote(parts.password) if parts.password else None,
                    use_tls=tls,
                    start_tls=False if tls else start_tls,
                    timeout=STEP_TIMEOUT,
                )
        except aiosmtplib.SMTPRecipientsRefused as refused:
            codes = [one.code for one in refused.recipients]
            forever = all(code >= 500 for code in codes)
            raise MailNotTaken(f"recipient refused: {codes}", forever=forever, words=_words(refused)) from refused
        except (aiosmtplib.SMTPException, OSError) as error:
            # The server's words may quote the mail: the log has their kind only.
            raise MailNotTaken(type(error).__name__, words=_words(error)) from error
        except ValueError as error:
            # What the library refuses to say to any server; nor will it to another, or later.
            raise MailNotTaken(type(error).__name__, forever=True, words="The mail cannot be sent by SMTP.") from error
        return f"The mail server has taken the mail: {_printable(answer)}"

    return send


def _words(error: Exception) -> str:
    """What went wrong, for the admin who set the server up: its own words where it speaks SMTP, and no others, so that
    nobody reads what else may answer at an address."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        error = error.recipients[0]
    if isinstance(error, aiosmtplib.SMTPResponseException):
        # RFC 5321, 4.2.1: replies begin with 2 to 5. The library has codes of its own for what is no reply.
        if 200 <= error.code < 600:
            return f"{error.code} {_printable(error.message)}"
        return "What answers there is no mail server."
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"The server's certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return "No encrypted connection could be made with the server."
        if isinstance(cause, TimeoutError):
            return "The server did not answer in time."
        if isinstance(cause, OSError) and cause.strerror:
            return f"The server cannot be reached: {cause.strerror}"
        cause = cause.__cause__
    if isinstance(error, aiosmtplib.SMTPException) and not isinstance(error, ConnectionError):
        # The library's own sentence on what the server does not offer.
        return str(error)
    return "The server ended the connection."


def _printable(words: str) -> str:
    return "".join(one if one.isprintable() else " " for one in words[:_MAX_WORDS])


def outbox(folder: Path) -> Transport:
    """A transport into a folder, for a run without a mail server: one `.eml` each, named in the log."""

    async def send(message: EmailMessage) -> str:
        stamp = times.now().strftime("%Y%m%dT%H%M%S.%fZ")
        path = folder / f"{stamp}-{message['X-FastCMS-Purpose']}.eml"
        try:
            await asyncio.to_thread(_write, path, bytes(message))
        except OSError as error:
            raise MailNotTaken(f"{path} cannot be written: {error.strerror}") from error
        log.info("mail written", path=str(path), to=message["To"], subject=message["Subject"])
        return "No mail server is set: the mail was written into the outbox."

    return send


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all, and for the owner only: there are links in it that sign in.
    partial = path.with_suffix(".part")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    partial.rename(path)
