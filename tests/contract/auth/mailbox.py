"""The mails that auth-service has written into its outbox."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class Mailbox:
    """A folder of .eml files, read in the order of their writing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> list[EmailMessage]:
        """Every mail so far."""
        paths = sorted(self._folder.glob("*.eml"))
        return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in paths]  # type: ignore[misc]

    def to(self, address: str, purpose: str) -> list[EmailMessage]:
        """The mails to an address for a purpose."""
        return [one for one in self.all() if (one["To"], one["X-FastCMS-Purpose"]) == (address, purpose)]

    async def next(self, address: str, purpose: str, count: int = 1) -> EmailMessage:
        """The newest of the mails to an address for a purpose, once there are `count`."""
        async with asyncio.timeout(10):
            while len(found := self.to(address, purpose)) < count:
                await asyncio.sleep(0.01)
        return found[-1]


def text_of(mail: EmailMessage) -> str:
    """The plain text of a mail."""
    part = mail.get_body(("plain",))
    assert part is not None
    return part.get_content()


def html_of(mail: EmailMessage) -> str:
    """The HTML of a mail."""
    part = mail.get_body(("html",))
    assert part is not None
    return part.get_content()


def link_of(mail: EmailMessage) -> str:
    """The link in a mail."""
    found = re.search(r"https?://\S+", text_of(mail))
    assert found
    return found[0]


def token_of(mail: EmailMessage) -> str:
    """The token in the link of a mail."""
    return parse_qs(urlsplit(link_of(mail)).query)["token"][0]


def code_of(mail: EmailMessage) -> str:
    """The one-time code in a mail."""
    found = re.search(r"^([0-9]{6})\r?$", text_of(mail), re.MULTILINE)
    assert found
    return found[1]
