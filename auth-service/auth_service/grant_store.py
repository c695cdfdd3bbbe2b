"""Queries about impersonations: the grants, and the seat that each pair of admin and target has."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from auth_service.models import Grant, to_document
from fastcms_common import times
from fastcms_common.storage import And, Change, Duplicate, Index, Store, Table, eq, gt, is_null

GRANTS = Table(
    "impersonations",
    (
        Index("actor_id"),
        Index("ended"),
        Index(("target_id", ("started", -1)), name="target_started"),
    ),
    scalars=("expires",),
)
SEATS = Table("impersonation_seats")


class GrantStore:
    """Grants to act as someone else."""

    def __init__(self, store: Store) -> None:
        self.storage = store

    async def prepare(self) -> None:
        """Makes the tables and indexes that are missing."""
        for table in (GRANTS, SEATS):
            await self.storage.ensure(table)

    async def add_grant(self, grant: Grant) -> None:
        """Keeps a new grant."""
        await self.storage.insert(GRANTS.name, to_document(grant))

    async def take_seat(self, grant: Grant) -> Grant | None:
        """Makes `grant` the one of its admin and target; the one that was so before, if it still is known."""
        seat, change = _seat(grant), Change(set={"grant": grant.id})
        while True:
            before = await self.storage.update(SEATS.name, seat, change, returning="before")
            if before is not None:
                return await self.grant(before["grant"])
            try:
                await self.storage.insert(SEATS.name, {"id": seat, "grant": grant.id})
            except Duplicate:
                # Taken between the two questions: now there is something to take it from.
                continue
            return None

    async def seated(self, grant: Grant) -> str | None:
        """The id of the grant that now is the one of this grant's admin and target."""
        seat = await self.storage.get(SEATS.name, _seat(grant))
        return None if seat is None else seat["grant"]

    async def grant(self, session_id: str) -> Grant | None:
        """The grant of an impersonation session."""
        document = await self.storage.get(GRANTS.name, session_id)
        return None if document is None else msgspec.convert(document, Grant)

    async def active_grants(self, actor_id: str) -> list[Grant]:
        """Those that the admin has given, have not been ended and have not run out."""
        where = And(eq("actor_id", actor_id), is_null("ended"), gt("expires", times.now_text()))
        return [msgspec.convert(one, Grant) for one in await self.storage.find(GRANTS.name, where)]

    async def grants_for(self, target_id: str, limit: int) -> list[Grant]:
        """Who acted as this person, the newest first."""
        documents = await self.storage.find(
            GRANTS.name, eq("target_id", target_id), sort=[("started", -1)], limit=limit
        )
        return [msgspec.convert(one, Grant) for one in documents]

    async def end_grant(self, session_id: str, ended: str) -> Grant | None:
        """Ends it; None where it was over already."""
        change = Change(set={"ended": ended})
        document = await self.storage.update(GRANTS.name, session_id, change, is_null("ended"))
        return None if document is None else msgspec.convert(document, Grant)

    async def open_grants(self) -> AsyncIterator[Grant]:
        """All that nobody has marked as ended."""
        async for document in self.storage.scan(GRANTS.name, is_null("ended")):
            yield msgspec.convert(document, Grant)


def _seat(grant: Grant) -> str:
    return f"{grant.actor_id}:{grant.target_id}"
