"""Handing mails over: to an SMTP server, or to a folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from fastcms_common import times
from fastcms_common.logs import get_logger

# Seconds for the whole conversation with the server.
TIMEOUT = 10.0

log = get_logger(__name__)

Transport = Callable[[EmailMessage], Awaitable[None]]
"""Hands a message over. Raises MailNotTaken where it could not be."""


class MailNotTaken(Exception):
    """The mail has not been handed over. `forever`: and the server says that it never will take it."""

    def __init__(self, reason: str, *, forever: bool = False) -> None:
        super().__init__(reason)
        self.forever = forever


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

    async def send(message: EmailMessage) -> None:
        try:
            await aiosmtplib.send(
                message,
                hostname=parts.hostname,
                port=parts.port or (465 if tls else 587),
                username=unquote(parts.username) if parts.username else None,
                password=unquote(parts.password) if parts.password else None,
                use_tls=tls,
                start_tls=False if tls else start_tls,
                timeout=TIMEOUT,
            )
        except aiosmtplib.SMTPRecipientsRefused as refused:
            codes = [one.code for one in refused.recipients]
            raise MailNotTaken(f"recipient refused: {codes}", forever=all(code >= 500 for code in codes)) from refused
        except (aiosmtplib.SMTPException, OSError) as error:
            # The server's words may quote the mail: only their kind is kept.
            raise MailNotTaken(type(error).__name__) from error

    return send


def outbox(folder: Path) -> Transport:
    """A transport into a folder, for a run without a mail server: one `.eml` each, named in the log."""

    async def send(message: EmailMessage) -> None:
        stamp = times.now().strftime("%Y%m%dT%H%M%S.%fZ")
        path = folder / f"{stamp}-{message['X-FastCMS-Purpose']}.eml"
        try:
            await asyncio.to_thread(_write, path, bytes(message))
        except OSError as error:
            raise MailNotTaken(f"{path} cannot be written: {error.strerror}") from error
        log.info("mail written", path=str(path), to=message["To"], subject=message["Subject"])

    return send


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all, and for the owner only: there are links in it that sign in.
    partial = path.with_suffix(".part")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    partial.rename(path)
