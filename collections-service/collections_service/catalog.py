"""The schemas that this process knows, held in step with every other process.

A snapshot of all collections is kept and replaced as a whole, so that whatever is read from it fits together. A change
is announced on a Redis channel after it was stored, each process then reads anew, and when all have taken note the one
who made it gets an answer. While the channel has not been heard from, nothing is taken from memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TypeAlias, TypeVar

from redis.asyncio import Redis

from collections_service.models import EMAIL, RULES, Collection, FieldDefinition, RuleName
from collections_service.rules.bound import Bound, Fixed, Operand, Stored, operands
from collections_service.rules.errors import ExpressionError
from collections_service.rules.parser import parse
from collections_service.rules.types import Scope, check
from collections_service.store import CollectionStore
from collections_service.validation import Validator
from fastcms_common import redis_keys
from fastcms_common.announcements import SILENCE, Announcements
from fastcms_common.errors import Conflict, Invalid, NotFound, TimedOut, Unavailable
from fastcms_common.logs import get_logger
from fastcms_common.redis_connection import redis_errors
from fastcms_common.storage import Document, Query

# Filters that are kept checked, of at most so many characters; applications ask the same ones again and again.
_FILTERS = 1_000
_FILTER_LENGTH = 1_000
# Seconds after which an announcement has been heard, or its absence has been noticed.
HEARD = SILENCE + 0.1
# How long a change is waited for that is about to be decided, and how often it is looked at meanwhile.
DECIDED_SECONDS = 3.0
_LOOK_AGAIN = 0.02
# How often a call is made that schemas keep changing under.
_ATTEMPTS = 10

# What a validator is compiled for: a collection's id and version, and whether hidden fields are seen.
_Compiled: TypeAlias = tuple[str, int, bool]
T = TypeVar("T")

log = get_logger(__name__)


class Filter:
    """A caller's filter, checked. `query` is what it compiles to, once it is known, where that is the same for all."""

    __slots__ = ("bound", "query", "same_for_all")

    def __init__(self, bound: Bound) -> None:
        self.bound = bound
        self.same_for_all = all(map(_same_for_all, operands(bound)))
        self.query: Query | None = None


def _same_for_all(operand: Operand) -> bool:
    """Whether it means the same whoever asks: what leads to other records depends on which of them they may view, and
    an e-mail address on whether it is theirs."""
    if isinstance(operand, Stored):
        return not operand.hops and not operand.other and operand.field is not EMAIL
    return isinstance(operand, Fixed)


class Snapshot:
    """All collections at one moment."""

    def __init__(self, collections: Iterable[Collection], validators: Mapping[_Compiled, Validator]) -> None:
        self._by_id = {collection.id: collection for collection in collections}
        self._by_name = {collection.name: collection for collection in self._by_id.values()}
        self._validators = dict(validators)
        self._rules: dict[tuple[str, RuleName], Bound | None] = {}
        self._filters: dict[tuple[str, str, bool], Filter] = {}

    def named(self, name: str) -> Collection | None:
        return self._by_name.get(name)

    def with_id(self, id: str) -> Collection | None:
        return self._by_id.get(id)

    def all(self) -> Iterable[Collection]:
        return self._by_id.values()

    def find(self, name_or_id: str) -> Collection:
        """The collection that a path word means. NotFound."""
        found = self._by_name.get(name_or_id) or self._by_id.get(name_or_id)
        if found is None:
            raise NotFound("There is no such collection.", reason="COLLECTION_NOT_FOUND")
        return found

    @cached_property
    def pending(self) -> bool:
        """Whether a change of a schema is not yet decided."""
        return any(collection.pending for collection in self._by_id.values())

    @cached_property
    def referrers(self) -> Mapping[str, list[tuple[Collection, FieldDefinition]]]:
        """The relations that point to each collection, by its id. What may be required in a moment is not emptied."""
        found: dict[str, list[tuple[Collection, FieldDefinition]]] = {}
        for collection in self._by_id.values():
            soon_required = {field.id for field in collection.pending if field.required}
            for field in collection.relations:
                kept = field.id in soon_required and field.on_delete == "set_null"
                relation = replace(field, on_delete="restrict") if kept else field
                found.setdefault(field.collection or "", []).append((collection, relation))
        return found

    def validator(self, collection: Collection, *, sees_hidden: bool) -> Validator:
        """The compiled validator of a collection for those who see its hidden fields, or for the others."""
        key = (collection.id, collection.version, sees_hidden or not collection.hides)
        if key not in self._validators:
            self._validators[key] = Validator(collection, sees_hidden=key[2])
        return self._validators[key]

    def rule(self, collection: Collection, rule: RuleName) -> Bound | None:
        """A rule that is an expression, checked; None, which lets nobody in, where it no longer fits the schemas."""
        key = (collection.id, rule)
        if key not in self._rules:
            try:
                self._rules[key] = check(parse(collection.rules[rule] or ""), Scope(collection, self, rule))
            except ExpressionError as error:
                log.error("rule does not fit", collection=collection.name, rule=rule, error=error.message)
                self._rules[key] = None
        return self._rules[key]

    def filter(self, collection: Collection, text: str, *, sees_all: bool) -> Filter:
        """A caller's filter. ExpressionError."""
        key = (collection.id, text, sees_all)
        found = self._filters.get(key)
        if found is None:
            scope = Scope(collection, self, None, sees_hidden=sees_all, other_collections=sees_all)
            found = Filter(check(parse(text), scope))
            if len(text) <= _FILTER_LENGTH:
                if len(self._filters) >= _FILTERS:
                    self._filters.clear()
                self._filters[key] = found
        return found

    def with_collection(self, collection: Collection) -> Snapshot:
        """The collections as they would be with this one in the place of that of the same id."""
        return Snapshot({**self._by_id, collection.id: collection}.values(), {})

    def versions(self) -> dict[str, int]:
        """The version of each collection, by id."""
        return {collection.id: collection.version for collection in self._by_id.values()}

    def validators(self) -> Mapping[_Compiled, Validator]:
        """What is compiled already and still in use."""
        in_use = {(collection.id, collection.version) for collection in self._by_id.values()}
        return {key: validator for key, validator in self._validators.items() if key[:2] in in_use}


class Catalog:
    """The current snapshot. `watch()` has to run for it to be kept in memory."""

    def __init__(self, store: CollectionStore, redis: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._redis = redis
        self._clock = clock
        self._announcements = Announcements(
            redis, redis_keys.COLLECTIONS_CHANGED, lambda _: self.forget(), self.forget, clock
        )
        self._snapshot: Snapshot | None = None
        self._changes = 0
        self._reading: asyncio.Task[Snapshot] | None = None

    async def current(self) -> Snapshot:
        """All collections as they are now."""
        if self._snapshot is not None and self._announcements.heard:
            return self._snapshot
        return await self.reload()

    async def reload(self) -> Snapshot:
        """Reads all collections. Calls that come while a read has not yet begun share it."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        return await asyncio.shield(self._reading)

    async def fresh(self) -> Snapshot:
        """Reads all collections after everything that was stored before this call."""
        self.forget()
        return await self.reload()

    async def with_schema(self, call: Callable[[], Awaitable[T]]) -> T:
        """Makes the call, and again where schemas refused it that are not the stored ones, or that were about to be
        decided. The announcement of a change may still be on its way."""
        for _ in range(_ATTEMPTS - 1):
            snapshot = await self.current()
            try:
                return await call()
            except (Unavailable, TimedOut):
                raise
            except Exception as error:
                # Also what storage makes of a table that is gone.
                if snapshot.pending and isinstance(error, Invalid | Conflict):
                    await self.decided()
                if not await self.outdated(snapshot):
                    raise
        return await call()

    async def outdated(self, snapshot: Snapshot) -> bool:
        """Whether this is not what is stored; what is remembered is then forgotten."""
        if snapshot.versions() == await self._store.versions():
            return False
        self.forget()
        return True

    async def decided(self) -> Snapshot:
        """All collections when no change of them is pending, for which it waits a moment."""
        until = self._clock() + DECIDED_SECONDS
        snapshot = await self.current()
        while snapshot.pending and self._clock() < until:
            await asyncio.sleep(_LOOK_AGAIN)
            snapshot = await self.current()
        return snapshot

    async def still_fits(self, collection: Collection, doc: Document) -> bool:
        """Whether a record that was just written by this schema may stay, also where the schema has changed since."""
        snapshot = await self.current()
        now = snapshot.with_id(collection.id)
        if now is None or now.generation != collection.generation:
            return False
        return now.version == collection.version or snapshot.validator(now, sees_hidden=True).fits(doc)

    async def _read(self) -> Snapshot:
        changes = self._changes
        known = self._snapshot.validators() if self._snapshot is not None else {}
        snapshot = Snapshot(await self._store.collections(), known)
        # A read that raced with a change is good for those who asked before it and is not kept.
        if changes == self._changes:
            self._snapshot = snapshot
        return snapshot

    def forget(self) -> None:
        """Takes note that a collection has changed."""
        self._changes += 1
        self._snapshot = None
        self._reading = None

    async def check_announcing(self) -> None:
        """Raises Unavailable where a change could not be announced, before it is made."""
        with redis_errors():
            await self._redis.ping()

    async def announce(self, collection_id: str) -> None:
        """Returns when every process knows that a collection has changed. Unavailable where Redis cannot be told."""
        self.forget()
        with redis_errors():
            await self._announcements.announce(collection_id)

    @staticmethod
    async def until_heard() -> None:
        """Returns when no process takes a collection for what it was before its last announcement."""
        await asyncio.sleep(HEARD)

    async def watch(self) -> None:
        """Listens for changes until it is cancelled; a lost connection is opened again."""
        await self._announcements.watch()


__all__ = ["RULES", "Catalog", "Snapshot"]
