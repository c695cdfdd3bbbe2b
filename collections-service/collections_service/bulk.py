"""Many records in one request: each by itself, or all of them or none.

Storage is atomic for one record only. All or nothing is made of three things: everything that can be checked is checked
before anything is written; what was written is taken back where something still fails; and a note of what to take back
is stored first, so that a crash in between is cleaned up too (`journal`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from collections_service.answers import of_written, unseen
from collections_service.decoding import decode, refuse_json
from collections_service.errors import item_error
from collections_service.journal import Journal, Undo
from collections_service.models import ID, Collection
from collections_service.policy import Session
from collections_service.records import Records, taken
from collections_service.relations import Relations
from collections_service.rendering import view
from collections_service.store import CollectionStore
from collections_service.validation import Validator
from fastcms_common.errors import DomainError, FieldError, Invalid
from fastcms_common.ids import is_uuid
from fastcms_common.storage import Document

T = TypeVar("T")
Change: TypeAlias = Callable[[int, Undo | None], Awaitable[Document]]
"""Changes the item of this place, so that it can be undone if that is asked for."""

MAX_RECORDS = 1000
# Records that are worked on at the same time.
_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item: the document as it is now (None for a deleted one), or the error."""

    doc: Document | None = None
    error: DomainError | None = None
    created: bool = False


class Bulk:
    """Batches of records."""

    def __init__(self, records: Records, store: CollectionStore, relations: Relations, journal: Journal) -> None:
        self._records = records
        self._relations = relations
        self._store = store
        self._journal = journal

    async def create(self, collection: Collection, session: Session, body: bytes, *, atomic: bool) -> Any:
        """`{"records": [{"data", "id"?}]}` → created, failed, records, errors."""
        items = _items(decode(body), "records")
        self._records.check_creatable(collection, session)
        check_pending(collection, session, items)
        outcomes = await self.create_all(collection, session, items, atomic=atomic)
        return {
            "created": sum(outcome.error is None for outcome in outcomes),
            "failed": sum(outcome.error is not None for outcome in outcomes),
            "records": await _shown(collection, session, outcomes),
            "errors": _errors(outcomes),
        }

    async def create_all(
        self, collection: Collection, session: Session, items: Sequence[Any], *, atomic: bool
    ) -> list[Outcome]:
        """Creates a record of each body; one round trip for those that are sound."""
        validator = session.validator(collection)

        async def prepare(index: int) -> Document:
            new = validator.new_record_of(items[index], f"records[{index}]." if atomic else "")
            doc = self._records.document(collection, new)
            # Each item is judged in a session of its own: a rule asks for this item's data.
            await self._records.check_create(collection, session.again(), new, doc)
            return doc

        prepared = await self._pointing(collection, session, await _each(len(items), prepare), atomic=atomic)
        if atomic:
            _raise_all(prepared)
        docs = [outcome for outcome in prepared if not isinstance(outcome, DomainError)]
        undo = await self._journal.inserting(collection, [doc[ID] for doc in docs]) if atomic else None
        refused = await self._store.insert_many(collection, docs)
        first = next(((index, error) for index, error in enumerate(refused) if error is not None), None)
        if undo is not None and first is not None:
            inserted = [doc[ID] for doc, error in zip(docs, refused, strict=True) if error is None]
            await self._journal.take_back_inserts(collection, inserted, undo)
            raise taken(collection, first[1], f"records[{first[0]}].data.", sees_hidden=session.sees_all)
        late = await self._records.take_back_strays(collection, session, docs)
        if undo is not None:
            if late:
                await self._journal.take_back_inserts(collection, [doc[ID] for doc in docs], undo)
                raise next(iter(late.values()))
            await self._journal.done(undo)
        results = iter(zip(docs, refused, strict=True))
        outcomes = []
        for outcome in prepared:
            if isinstance(outcome, DomainError):
                outcomes.append(Outcome(error=outcome))
                continue
            doc, duplicate = next(results)
            seen = session.sees_all
            refusal = taken(collection, duplicate, sees_hidden=seen) if duplicate is not None else late.get(doc[ID])
            outcomes.append(Outcome(doc, created=True) if refusal is None else Outcome(error=refusal))
        return outcomes

    async def _pointing(
        self, collection: Collection, session: Session, prepared: Sequence[Document | DomainError], *, atomic: bool
    ) -> list[Document | DomainError]:
        """What was prepared, with an error in the place of each document that points to what is not there."""
        docs = {index: doc for index, doc in enumerate(prepared) if not isinstance(doc, DomainError)}
        missing = await self._relations.missing_of(
            session.snapshot,
            collection,
            list(docs.values()),
            [f"records[{index}].data." if atomic else "data." for index in docs],
            sees_hidden=session.sees_all,
        )
        refused = {index: Invalid(errors) for index, errors in zip(docs, missing, strict=True) if errors}
        return [refused.get(index, outcome) for index, outcome in enumerate(prepared)]

    async def update(self, collection: Collection, session: Session, body: bytes, *, atomic: bool) -> Any:
        """`{"record_ids": [..], "data": {..}}` → success, failed, errors."""
        content = _object(decode(body), ("record_ids", "data"))
        ids = _ids(content)
        patch = session.validator(collection).patch_of({"data": content.get("data")} if "data" in content else {})

        async def change(index: int, undo: Undo | None) -> Document:
            return await self._records.apply(collection, session.again(), ids[index], patch, undo=undo)

        return _bulk_answer(await self._changing(collection, ids, change, atomic=atomic))

    async def delete(self, collection: Collection, session: Session, body: bytes, *, atomic: bool) -> Any:
        """`{"record_ids": [..]}` → success, failed, errors."""
        ids = _ids(_object(decode(body), ("record_ids",)))
        if atomic:
            await self._records.delete_together(collection, session, ids)
            return _bulk_answer([Outcome()] * len(ids))

        async def remove(index: int) -> None:
            await self._records.delete(collection, session.again(), ids[index])

        outcomes = [
            Outcome(error=result) if isinstance(result, DomainError) else Outcome()
            for result in await _each(len(ids), remove)
        ]
        return _bulk_answer(outcomes)

    async def upsert(self, collection: Collection, session: Session, body: bytes, *, atomic: bool) -> Any:
        """`{"records": [{"id", "data"}]}` → created, updated, failed, records, errors."""
        items = _items(decode(body), "records")
        ids = [_id_of(item) for item in items]
        found = await self._store.get_many(collection, list(dict.fromkeys(id for id in ids if id is not None)))
        existing = {doc[ID] for doc in found if doc is not None}
        old = [index for index, id in enumerate(ids) if id in existing]
        new = [index for index, id in enumerate(ids) if id not in existing]
        if new:
            self._records.check_creatable(collection, session)
        if atomic:
            twice = [index for index in old if ids.index(ids[index]) != index]
            if twice:
                raise Invalid([FieldError(f"records[{index}].id", "is given twice") for index in twice])
            _check_bodies(session.validator(collection), items, set(old))
        else:
            check_pending(collection, session, items, set(old))
        outcomes: dict[int, Outcome] = {}
        # Changes come first: with `atomic` they can be taken back to what they were, inserts by deleting.
        changed = await self._upsert_old(collection, session, items, old, atomic=atomic)
        outcomes.update(zip(old, changed.outcomes, strict=True))
        try:
            made = await self.create_all(collection, session, [items[index] for index in new], atomic=atomic)
        except DomainError as error:
            await changed.take_back()
            raise _moved(error, new) from None
        await changed.done()
        outcomes.update(zip(new, made, strict=True))
        ordered = [outcomes[index] for index in range(len(items))]
        sound = [outcome for outcome in ordered if outcome.error is None]
        return {
            "created": sum(outcome.created for outcome in sound),
            "updated": sum(not outcome.created for outcome in sound),
            "failed": len(ordered) - len(sound),
            "records": await _shown(collection, session, ordered),
            "errors": _errors(ordered),
        }

    async def _upsert_old(
        self, collection: Collection, session: Session, items: Sequence[Any], old: Sequence[int], *, atomic: bool
    ) -> _Changed:
        validator = session.validator(collection)

        async def change(position: int, undo: Undo | None) -> Document:
            index = old[position]
            prefix = f"records[{index}]." if atomic else ""
            patch = validator.patch_of(_without_id(items[index]), prefix)
            return await self._records.apply(
                collection, session.again(), items[index]["id"], patch, prefix=f"{prefix}data.", undo=undo
            )

        ids = [items[index]["id"] for index in old]
        return await self._change_all(collection, ids, change, atomic=atomic)

    async def _changing(
        self, collection: Collection, ids: Sequence[str], change: Change, *, atomic: bool
    ) -> list[Outcome]:
        changed = await self._change_all(collection, ids, change, atomic=atomic)
        await changed.done()
        return changed.outcomes

    async def _change_all(
        self, collection: Collection, ids: Sequence[str], change: Change, *, atomic: bool
    ) -> _Changed:
        """Makes each change. With `atomic` the first error takes back the others and is raised."""
        undo = None
        if atomic:
            before = [doc for doc in await self._store.get_many(collection, ids) if doc is not None]
            undo = await self._journal.changing(collection, before)
        results = await _each(len(ids), lambda index: change(index, undo))
        outcomes = [Outcome(error=result) if isinstance(result, DomainError) else Outcome(result) for result in results]
        changed = _Changed(self._journal, collection, undo, outcomes)
        if undo is not None and any(outcome.error for outcome in outcomes):
            await changed.take_back()
            _raise_all(results)
        return changed


@dataclass
class _Changed:
    """Changes that can still be taken back."""

    journal: Journal
    collection: Collection
    undo: Undo | None
    outcomes: list[Outcome]

    async def take_back(self) -> None:
        if self.undo is not None:
            await self.journal.take_back_changes(self.collection, self.undo)

    async def done(self) -> None:
        if self.undo is not None:
            await self.journal.done(self.undo.note)


async def _each(count: int, work: Callable[[int], Awaitable[T]]) -> list[T | DomainError]:
    """The results of `work(0)`, `work(1)`, …, some at a time; a domain error is a result."""

    async def one(index: int) -> T | DomainError:
        try:
            return await work(index)
        except DomainError as error:
            return error

    results: list[T | DomainError] = []
    for start in range(0, count, _AT_ONCE):
        results += await asyncio.gather(*(one(index) for index in range(start, min(start + _AT_ONCE, count))))
    return results


def _raise_all(results: Sequence[object]) -> None:
    """Raises what went wrong: all bad fields together, or else the first error."""
    errors = [(index, result) for index, result in enumerate(results) if isinstance(result, DomainError)]
    if not errors:
        return
    invalid = [field for _, error in errors if isinstance(error, Invalid) for field in error.fields]
    index, first = errors[0]
    if invalid and isinstance(first, Invalid):
        raise Invalid(invalid)
    first.detail = f"Item {index}: {first.detail}"
    raise first


def check_pending(collection: Collection, session: Session, items: Sequence[Any], old: Container[int] = ()) -> None:
    """Raises Invalid where a change of the schema is pending that may be what an item does not fit: none of them is
    written before it is decided (`Catalog.with_schema`)."""
    if collection.pending:
        _check_bodies(session.validator(collection), items, old)


def _check_bodies(validator: Validator, items: Sequence[Any], old: Container[int]) -> None:
    """Raises Invalid, naming every bad field of all the items, before any of them is written."""
    results: list[object] = []
    for index, item in enumerate(items):
        try:
            if index in old:
                validator.patch_of(_without_id(item), f"records[{index}].")
            else:
                validator.new_record_of(item, f"records[{index}].")
        except Invalid as error:
            results.append(error)
    _raise_all(results)


def _without_id(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != "id"}


def _moved(error: DomainError, places: Sequence[int]) -> DomainError:
    """The error of a part of the items with the places that they have in the whole."""

    def moved(field: FieldError) -> FieldError:
        head, bracket, rest = field.field.partition("]")
        if bracket and head.startswith("records["):
            return FieldError(f"records[{places[int(head[8:])]}]{rest}", field.message)
        return field

    error.fields = tuple(moved(field) for field in error.fields)
    return error


def _object(body: Any, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(body, dict):
        refuse_json("a JSON object")
    unknown = [FieldError(name, "is not known here") for name in body if name not in known]
    if unknown:
        raise Invalid(unknown)
    return body


def _items(body: Any, name: str) -> list[Any]:
    content = _object(body, (name,))
    items = content.get(name)
    if not isinstance(items, list):
        raise Invalid.field(name, "must be a list" if name in content else "is required")
    if len(items) > MAX_RECORDS:
        raise Invalid.field(name, f"must be at most {MAX_RECORDS}")
    return items


def _ids(content: dict[str, Any]) -> list[str]:
    ids = _items({"record_ids": content["record_ids"]} if "record_ids" in content else {}, "record_ids")
    errors = [
        FieldError(f"record_ids[{index}]", "must be the id of a record")
        for index, id in enumerate(ids)
        if not isinstance(id, str)
    ]
    if errors:
        raise Invalid(errors)
    if len(set(ids)) != len(ids):
        raise Invalid.field("record_ids", "must not hold an id twice")
    return ids


def _id_of(item: Any) -> str | None:
    """The id that an item names, if it can be one; what else it may be is found when the item is checked."""
    id = item.get("id") if isinstance(item, dict) else None
    return id if isinstance(id, str) and is_uuid(id) else None


async def _shown(collection: Collection, session: Session, outcomes: Sequence[Outcome]) -> list[Any]:
    """What was created, and of what was changed what the caller may view."""
    looks = view(collection, session.caller, session.sees_all)
    changed = [outcome.doc for outcome in outcomes if outcome.doc is not None and not outcome.created]
    seen = await of_written(session.viewable(collection, changed), lambda: [False] * len(changed)) if changed else []
    hidden = {doc[ID] for doc, visible in zip(changed, seen, strict=True) if not visible}
    docs = [outcome.doc for outcome in outcomes if outcome.doc is not None]
    return [unseen(doc) if doc[ID] in hidden else looks.shown(doc) for doc in docs]


def _errors(outcomes: Sequence[Outcome]) -> list[Any]:
    return [
        {"index": index, **item_error(outcome.error)}
        for index, outcome in enumerate(outcomes)
        if outcome.error is not None
    ]


def _bulk_answer(outcomes: Sequence[Outcome]) -> Any:
    failed = sum(outcome.error is not None for outcome in outcomes)
    return {"success": len(outcomes) - failed, "failed": failed, "errors": _errors(outcomes)}
