"""What a caller may choose about an answer, and the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from collections_service.expansion import Expansion
from collections_service.models import CREATED, ID, UPDATED, Collection
from collections_service.policy import Session
from collections_service.rendering import View, view
from fastcms_common.errors import TimedOut, Unavailable
from fastcms_common.logs import get_logger
from fastcms_common.storage import Document

T = TypeVar("T")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a caller may choose about an answer: `expand` and `fields` as they came."""

    expand: str = ""
    fields: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A record for JSON, with its ETag where it stands for nothing but the record."""

    body: Any
    etag: str | None = None


def unseen(doc: Document) -> dict[str, Any]:
    """A record as somebody gets it who has changed it and may not view it: that it is there, and nothing of it."""
    return {ID: doc[ID], "data": {}, CREATED: doc[CREATED], UPDATED: doc[UPDATED], "expand": None}


async def of_written(answer: Awaitable[T], otherwise: Callable[[], T]) -> T:
    """The answer to a write that is done, which is no error any more: where the answer cannot be made, because a rule
    for viewing looks too far or a collection that it asks for is gone meanwhile, it is what `otherwise` gives.

    Raises Unavailable and TimedOut, after which nobody takes the write for undone.
    """
    try:
        return await answer
    except (Unavailable, TimedOut):
        raise
    except Exception as error:
        # Also what storage makes of a table that is gone.
        log.warning("answered a write without its records", exc_info=error)
        return otherwise()


class Rendering:
    """How the records of one request are shown. Invalid where `expand` or `fields` name what is not there."""

    def __init__(self, collection: Collection, session: Session, shown: Shown) -> None:
        self._view: View = view(collection, session.caller, session.sees_all, shown.fields)
        self._expansion = Expansion(session, collection, shown.expand)

    async def one(self, doc: Document) -> Answer:
        """A record with its ETag; without one where it shows other records too."""
        if self._expansion.empty:
            return Answer(self._view.shown(doc), self._view.etag(doc))
        (shown,) = await self.many([doc])
        return Answer(shown)

    async def many(self, docs: Sequence[Document]) -> list[dict[str, Any]]:
        """Records as JSON."""
        if self._expansion.empty:
            return [self._view.shown(doc) for doc in docs]
        expansions = await self._expansion.of(docs)
        return [self._view.shown(doc, expand) for doc, expand in zip(docs, expansions, strict=True)]
