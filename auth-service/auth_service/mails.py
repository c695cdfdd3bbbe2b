"""Mails: written from templates, kept until they are handed over, tried again where they were not."""

from __future__ import annotations

import asyncio
import email.policy
from datetime import timedelta
from email.message import EmailMessage
from email.parser import Parser
from email.utils import format_datetime, make_msgid
from typing import Any, Literal

import jinja2

from auth_service import addresses
from auth_service.mail_transports import MailNotTaken, Transport
from auth_service.master_key import MasterKey
from auth_service.models import PendingMail
from auth_service.store import AuthStore
from fastcms_common import times
from fastcms_common.audit import AuditLog
from fastcms_common.errors import Conflict, Unavailable
from fastcms_common.ids import new_id
from fastcms_common.logs import get_logger

Purpose = Literal["password_reset", "verification", "email_change", "email_change_notice", "email_taken", "otp", "test"]
SUBJECTS: dict[Purpose, str] = {
    "password_reset": "Reset your password",
    "verification": "Confirm your e-mail address",
    "email_change": "Confirm your new e-mail address",
    "email_change_notice": "Your e-mail address is about to change",
    "email_taken": "Somebody wanted to use your e-mail address",
    "otp": "Your sign-in code",
    "test": "A test of the mail settings",
}
# A try may take this long before another replica believes it has died.
_LEASE = timedelta(minutes=2)
# Waits between tries; after the last one the mail is given up: its link has run out by then.
_WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 15, 30, 60, 120, 240, 480))
# Seconds after which the sender looks for mails that are due even if nobody has told it.
_LOOK_EVERY = 20.0
_AT_ONCE = 4
# Seconds that somebody waits to hear how a test went: less than a call may take.
_TEST_PATIENCE = 8.0

log = get_logger(__name__)


class Mails:
    """The mails of this service."""

    def __init__(
        self, store: AuthStore, master_key: MasterKey, transport: Transport, sender: str, audit: AuditLog
    ) -> None:
        self._store = store
        self._master_key = master_key
        self._transport = transport
        self._sender = sender
        self._audit = audit
        self._wake = asyncio.Event()
        loader = jinja2.PackageLoader("auth_service", "templates")
        self._templates = jinja2.Environment(
            loader=loader,
            autoescape=jinja2.select_autoescape(["html"], default_for_string=False),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def write(self, purpose: Purpose, to: str, **facts: Any) -> None:
        """Writes a mail from its template and keeps it until it is handed over."""
        message = self._message(purpose, to, facts)
        mail_id, now = new_id(), times.now_text()
        sealed = self._master_key.seal(bytes(message), owner(mail_id))
        await self._store.add_mail(PendingMail(id=mail_id, purpose=purpose, message=sealed, created=now, due=now))
        self._wake.set()

    async def send_test(self, to: str) -> tuple[str, str]:
        """Hands a mail over at once, whatever else waits; the address as it was read and a sentence on what became of
        the mail. Invalid naming `to`, Conflict (MAIL_NOT_SENT) with the server's words."""
        address = addresses.parse(to, "to")
        problem = None
        try:
            async with asyncio.timeout(_TEST_PATIENCE):
                sentence = await self._transport(self._message("test", address, {}))
        except MailNotTaken as error:
            problem = error.words
        except TimeoutError:
            problem = "The server did not answer in time."
        await self._audit.record(
            "system",
            "mail_tested",
            description="Tried the mail settings",
            details={"to": address},
            outcome="success" if problem is None else "error",
            error_message=problem,
        )
        if problem is not None:
            raise Conflict(f"The mail was not sent. {problem}", reason="MAIL_NOT_SENT")
        return address, sentence

    async def send_forever(self) -> None:
        """Hands mails over as they come, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.send_due()
            except Unavailable as error:
                log.warning("mails wait", error=error.detail)

    async def send_due(self) -> tuple[int, int]:
        """Tries every mail that is due; how many were handed over and how many were not."""
        due = await self._store.due_mails(times.now_text())
        gate = asyncio.Semaphore(_AT_ONCE)

        async def guarded(mail_id: str) -> bool | None:
            async with gate:
                return await self._try(mail_id)

        results = await asyncio.gather(*(guarded(one) for one in due))
        return results.count(True), results.count(False)

    async def _try(self, mail_id: str) -> bool | None:
        now = times.now()
        mail = await self._store.claim_mail(mail_id, times.to_text(now), times.to_text(now + _LEASE))
        if mail is None:
            return None
        text = self._master_key.unseal(mail.message, owner(mail.id)).decode()
        # Read as text: read as bytes, an address beyond ASCII comes out as something that no server can be told.
        message = Parser(_class=EmailMessage, policy=_policy(text)).parsestr(text)
        try:
            await self._transport(message)
        except MailNotTaken as error:
            await self._put_off(mail, error)
            return False
        await self._store.delete_mail(mail.id)
        return True

    async def _put_off(self, mail: PendingMail, error: MailNotTaken) -> None:
        if error.forever or mail.attempts > len(_WAITS):
            log.error("mail given up", purpose=mail.purpose, attempts=mail.attempts, error=str(error))
            await self._audit.record(
                "system",
                "mail_failed",
                severity="warning",
                description=f"A mail ({mail.purpose}) could not be delivered",
                resource_type="mail",
                resource_id=mail.id,
                details={"purpose": mail.purpose, "attempts": mail.attempts},
                outcome="error",
                error_message=str(error),
            )
            await self._store.delete_mail(mail.id)
            return
        due = times.to_text(times.now() + _WAITS[mail.attempts - 1])
        log.warning("mail not sent yet", purpose=mail.purpose, attempts=mail.attempts, error=str(error), due=due)
        await self._store.put_off_mail(mail.id, due)

    def _message(self, purpose: Purpose, to: str, facts: dict[str, Any]) -> EmailMessage:
        to = addresses.mailable(to)
        message = EmailMessage(policy=_policy(to))
        message["From"] = self._sender
        message["To"] = to
        message["Subject"] = SUBJECTS[purpose]
        message["Date"] = format_datetime(times.now())
        message["Message-ID"] = make_msgid(domain=self._sender.rpartition("@")[2].strip("<> ") or "localhost")
        # RFC 3834: keeps vacation notices away.
        message["Auto-Submitted"] = "auto-generated"
        message["X-FastCMS-Purpose"] = purpose
        facts = facts | {"subject": SUBJECTS[purpose]}
        message.set_content(self._templates.get_template(f"{purpose}.txt").render(facts))
        message.add_alternative(self._templates.get_template(f"{purpose}.html").render(facts), subtype="html")
        return message


def _policy(text: str) -> email.policy.EmailPolicy[EmailMessage]:
    """RFC 6531 only where an address needs it, as not every server speaks it; bodies in ASCII in any case."""
    return (email.policy.SMTP if text.isascii() else email.policy.SMTPUTF8).clone(cte_type="7bit")


def owner(mail_id: str) -> str:
    """What a mail that waits is sealed for."""
    return f"mail:{mail_id}"
