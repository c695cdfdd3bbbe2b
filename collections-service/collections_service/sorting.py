"""Sorting along relations, which no index serves: the keys of all matching records are read and sorted here.

What is read is bounded, and it is the keys alone; the records of the page are read afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

from collections_service.models import ID, Collection
from collections_service.paging import Key
from collections_service.policy import Session
from collections_service.rules.bound import Hop
from collections_service.store import CollectionStore
from fastcms_common.errors import Invalid
from fastcms_common.storage import After, Document, Query, matches, position
from fastcms_common.storage.predicate import sort_key
from fastcms_common.storage.store import Sort

# Records that are sorted in one request.
MAX_SORTED = 20_000
_CHUNK = 1000


async def page_along(
    store: CollectionStore,
    session: Session,
    collection: Collection,
    where: Query,
    keys: Sequence[Key],
    *,
    limit: int,
    offset: int,
    after: After | None,
) -> tuple[list[Document], list[After]]:
    """A page in the order of the keys, and the place of each of its records. Invalid where too many match."""
    names = list(dict.fromkeys(key.hops[0].field.id if key.hops else key.path[0] for key in keys))
    docs = await store.find(collection, where, limit=MAX_SORTED + 1, fields=names)
    if len(docs) > MAX_SORTED:
        message = f"goes along a relation for at most {MAX_SORTED} matching records; filter more narrowly"
        raise Invalid.field("sort", message, reason="EXPRESSION_TOO_BROAD")
    columns = [await _column(session, docs, key) for key in keys]
    rows = [
        {ID: doc[ID], **{str(number): column[index] for number, column in enumerate(columns)}}
        for index, doc in enumerate(docs)
    ]
    order: Sort = [(str(number), key.direction) for number, key in enumerate(keys)]
    place = sort_key(order)
    if after is not None:
        start = place({ID: after.id, **{str(number): value for number, value in enumerate(after.values)}})
        rows = [row for row in rows if place(row) > start]
    rows = sorted(rows, key=place)[offset : offset + limit]
    found = await store.get_many(collection, [row[ID] for row in rows])
    # One that was deleted in between is not on the page any more.
    there = [(doc, position(row, order)) for doc, row in zip(found, rows, strict=True) if doc is not None]
    return [doc for doc, _ in there], [at for _, at in there]


async def _column(session: Session, docs: Sequence[Document], key: Key) -> list[object]:
    """The value of the key for each of the documents."""
    here: list[Document | None] = list(docs)
    for hop in key.hops:
        targets = await _targets(session, hop, here)
        here = [targets.get(doc.get(hop.field.id, "")) if doc is not None else None for doc in here]
    values: list[object] = []
    for doc in here:
        held: object = doc
        for step in key.path:
            held = held.get(step) if isinstance(held, dict) else None
        values.append(held)
    return values


async def _targets(session: Session, hop: Hop, docs: Sequence[Document | None]) -> dict[str, Document]:
    """The records that the relation points to and that the caller may view, by id."""
    ids = list({doc[hop.field.id]: None for doc in docs if doc is not None and doc.get(hop.field.id) is not None})
    found: list[Document] = []
    for start in range(0, len(ids), _CHUNK):
        found += [doc for doc in await session.get_many(hop.target, ids[start : start + _CHUNK]) if doc is not None]
    allowed = await session.allowed(hop.target, "view", found)
    return {doc[ID]: doc for doc in found if matches(allowed, doc)}
