"""Where mail goes, and whom it is from: as admins have set it (settings `mail`), else as the environment says."""

from __future__ import annotations

from collections.abc import Mapping
from email.message import EmailMessage
from typing import Any

from auth_service import addresses
from auth_service.mail_transports import Transport, smtp
from fastcms_common.errors import Invalid
from fastcms_common.logs import get_logger
from fastcms_common.sealing import Sealer

log = get_logger(__name__)


class MailSettings:
    """A transport that changes under a running process."""

    def __init__(self, first: Transport, sealer: Sealer) -> None:
        self._first = first
        self._sealer = sealer
        self._transport = first
        self._sender: str | None = None

    async def send(self, message: EmailMessage) -> str:
        """Hands a message over by the transport in force; what became of it. Raises MailNotTaken."""
        if self._sender is not None:
            del message["From"]
            message["From"] = self._sender
        return await self._transport(message)

    def change(self, values: Mapping[str, Any]) -> None:
        """Puts new values of the category in force. What cannot be read leaves mail as it was."""
        try:
            sealed, chosen = values["smtp_url"], values["mail_from"]
            sender = chosen and addresses.sender(chosen)
            self._transport = smtp(self._sealer.open(sealed, "mail.smtp_url")) if sealed else self._first
        except (ValueError, Invalid) as error:
            log.error("mail settings not in force", error=str(error))
            return
        self._sender = sender
