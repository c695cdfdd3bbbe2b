"""Lists: the records that a caller may see and asks for, a page at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from collections_service.answers import Answer, Rendering, Shown
from collections_service.models import Collection
from collections_service.paging import Order, cursor_of, order_of, position_of
from collections_service.policy import Session
from collections_service.rules.combine import conjunction
from collections_service.rules.compile import Compiler
from collections_service.rules.errors import ExpressionError, invalid
from collections_service.sorting import page_along
from collections_service.store import CollectionStore
from fastcms_common.errors import Invalid
from fastcms_common.storage import ALL, NONE, After, Document, Query, Sort, position

PER_PAGE = 20


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list is asked for."""

    page: int = 1
    per_page: int = PER_PAGE
    filter: str = ""
    sort: str = ""
    skip_total: bool = False
    cursor: str = ""


class Lists:
    """Lists of records."""

    def __init__(self, store: CollectionStore) -> None:
        self._store = store

    async def page(self, collection: Collection, session: Session, asked: Listing, shown: Shown) -> Answer:
        """One page of the records that the caller may list and that match the filter."""
        rendering = Rendering(collection, session, shown)
        order = order_of(collection, asked.sort, session.snapshot, sees_all=session.sees_all)
        after = position_of(asked.cursor, collection, order) if asked.cursor else None
        if after is not None and asked.page != 1:
            raise Invalid.field("page", "does not go with a cursor")
        where = await self.matching(collection, session, asked)
        offset = (asked.page - 1) * asked.per_page
        docs, place = await self._page(collection, session, where, order, asked.per_page + 1, offset, after)
        more, docs = len(docs) > asked.per_page, docs[: asked.per_page]
        total = None
        if not asked.skip_total and after is None:
            # The last page tells the total by itself.
            known = not more and (docs or offset == 0)
            total = offset + len(docs) if known else await self._count(collection, where)
        return Answer(
            {
                "items": await rendering.many(docs),
                "total": total,
                "page": asked.page,
                "per_page": asked.per_page,
                "total_pages": None if total is None else -(-total // asked.per_page),
                "next_cursor": cursor_of(place(len(docs) - 1), collection, order) if more else None,
            }
        )

    async def _page(
        self,
        collection: Collection,
        session: Session,
        where: Query,
        order: Order,
        limit: int,
        offset: int,
        after: After | None,
    ) -> tuple[list[Document], Callable[[int], After]]:
        """The records of a page, and what tells the place of each in the order, by its index."""
        places: list[After] = []
        if where == NONE:
            return [], places.__getitem__
        if any(key.hops for key in order):
            docs, places = await page_along(
                self._store, session, collection, where, order, limit=limit, offset=offset, after=after
            )
            return docs, places.__getitem__
        sort: Sort = [(key.path, key.direction) for key in order]
        docs = await self._store.find(collection, where, sort=sort, limit=limit, offset=offset, after=after)
        return docs, lambda index: position(docs[index], sort)

    async def matching(self, collection: Collection, session: Session, asked: Listing) -> Query:
        """The records that the caller may list and that match the filter. Invalid, Denied."""
        if session.closed(collection, "list"):
            session.refuse()
        rule = await session.allowed(collection, "list")
        return conjunction([rule, await self.filter(collection, session, asked.filter)])

    async def _count(self, collection: Collection, where: Query) -> int | None:
        return 0 if where == NONE else await self._store.total(collection, where)

    @staticmethod
    async def filter(collection: Collection, session: Session, text: str) -> Query:
        """A caller's own filter, which sees no more than the caller does. Invalid."""
        if not text.strip():
            return ALL
        try:
            found = session.snapshot.filter(collection, text, sees_all=session.sees_all)
        except ExpressionError as error:
            raise invalid("filter", text, error, "FILTER_INVALID") from None
        if found.query is not None:
            return found.query
        query = await Compiler(session.request, masked=not session.sees_all).query(found.bound)
        if found.same_for_all:
            found.query = query
        return query
