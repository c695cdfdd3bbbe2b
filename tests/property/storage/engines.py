"""A store that property tests drive from outside its event loop, and what stand-in servers cannot be asked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from hypothesis import HealthCheck, reject, settings

from fastcms_common.errors import Invalid
from fastcms_common.storage import ALL, Change, Document, Index, Store, Table
from fastcms_common.storage.mongo_errors import Refused
from fastcms_common.storage.rules import TableRules
from tests.mongo_server import NESTED_ARRAYS, ODD_KEYS
from tests.storages import Storage

T = TypeVar("T")

# One table that promises nothing, one with indexes over lists, one with scalar paths and indexes of every other sort.
LOOSE = Table("loose")
LISTED = Table("listed", (Index("a", many=True), Index("b.c", many=True)))
STRICT = Table("strict", (Index("a"), Index([("b.c", -1), "c"]), Index("$set", unique=True)), scalars=(("x.y",), "A"))

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
# The same examples in every run of the suite; new ones, and many more, with HYPOTHESIS_PROFILE=nightly.
examples = settings(
    max_examples=5_000 if NIGHTLY else 80,
    derandomize=not NIGHTLY,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


class Engine:
    """A store, and the loop it lives in."""

    def __init__(self, runner: asyncio.Runner, store: Store, storage: Storage) -> None:
        self.store = store
        self._runner = runner
        self._storage = storage

    @property
    def is_mongodb(self) -> bool:
        """Whether it is the MongoDB engine."""
        return self._storage.kind is not None

    @property
    def is_stand_in(self) -> bool:
        """Whether a server stands behind it that cannot do all that MongoDB can."""
        return self._storage.kind is not None and bool(self._storage.kind.gaps)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The outcome. Gives the example up where the server says that it cannot do such a thing."""
        try:
            return self._runner.run(work)
        except Refused as refusal:
            if self._says_so(refusal):
                reject()
            raise

    def ask(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """The outcome, or None where the server says that it cannot do such a thing."""
        try:
            return self._runner.run(work())
        except Refused as refusal:
            if self._says_so(refusal):
                return None
            raise

    def _says_so(self, refusal: Refused) -> bool:
        return self._storage.kind is not None and self._storage.kind.refuses(refusal)

    def fill(self, table: Table, docs: list[Document]) -> list[Document]:
        """The table holds nothing but those of `docs` that it takes: these."""

        async def refill() -> list[Document]:
            await self.store.delete_many(table.name, ALL)
            able = [doc for doc in docs if self.takes(doc)]
            outcomes = await self.store.insert_many(table.name, able)
            return [doc for doc, outcome in zip(able, outcomes, strict=True) if outcome is None]

        return self.run(refill())

    def takes(self, doc: Document) -> bool:
        """Whether the server can keep the keys of such a document."""
        return not (self._storage.lacks(ODD_KEYS) and _odd(doc))

    def keepable(self, table: Table, docs: list[Document]) -> list[Document]:
        """Those documents that the table takes and the server can keep."""
        kept = keeping(table, docs)
        return [doc for doc in kept if not (self._storage.lacks(NESTED_ARRAYS) and _nested(doc))]

    def takes_change(self, change: Change) -> bool:
        """Whether the server can keep the keys that the change makes."""
        made = [dict.fromkeys(path) for path in change.paths]
        return self.takes({"made": made, "set": list(change.set.values()), "push": [*change.push.values()]})


def keeping(table: Table, docs: list[Document]) -> list[Document]:
    """Those documents that the table takes, as it stores them."""
    kept, rules = [], TableRules.of(table)
    for doc in docs:
        try:
            kept.append(rules.document(doc))
        except Invalid:
            continue
    return kept


def _nested(value: Any, *, within: bool = False) -> bool:
    if isinstance(value, Mapping):
        return any(_nested(item) for item in value.values())
    return isinstance(value, list) and (within or any(_nested(item, within=True) for item in value))


def _odd(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(any(char in '"\\' or char <= " " for char in key) or _odd(item) for key, item in value.items())
    return isinstance(value, list | tuple) and any(_odd(item) for item in value)


def typed(value: Any) -> Any:
    """A value that equals another only if the types of all numbers and truths in it are equal too."""
    if isinstance(value, Mapping):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [typed(item) for item in value]
    return type(value).__name__, value
