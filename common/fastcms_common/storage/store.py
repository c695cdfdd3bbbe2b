"""The narrow interface in front of both engines. Everything a service knows about storage is here.

Documents are JSON-like dicts with a text `id`; `values.py` says what they may hold. Every write is atomic for one
document and durable when it is acknowledged; there are no transactions over several documents. Every caller gets a
copy of its own.

Errors, the same from both engines: `Duplicate` (an id or a unique index), `Invalid` (a document, value, path or change
that cannot be), `TooLarge`, `Unavailable` (the database is down, full or too slow: nothing is known to be done, and the
store recovers by itself when it is back).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, TypeAlias, TypeVar

from fastcms_common.errors import Conflict, FieldError, Invalid
from fastcms_common.storage.query import ALL, And, Compare, Field, Path, Query, Value, path_of
from fastcms_common.storage.values import Document, Scalar, check_scalar, check_value

Direction: TypeAlias = Literal[1, -1]
Sort: TypeAlias = Sequence[tuple[str | Path, Direction]]
PathLike: TypeAlias = "str | Path"

Known = TypeVar("Known")
# Half the distance between the largest two floats is about 1e292: a smaller step cannot lead beyond them.
MAX_STEP = 1e290
NAME_PATTERN = r"^[a-z][a-z0-9_]{0,99}$"


class Duplicate(Conflict):
    """A unique index holds the value already. `index` is its name (`"id"`: the id itself), `paths` its fields."""

    default_reason = "DUPLICATE"

    def __init__(self, index: str, paths: Sequence[str]) -> None:
        super().__init__(
            f"A document with this {', '.join(paths) or 'value'} exists already.",
            fields=[FieldError(path, "is already taken") for path in paths],
            metadata={"index": index},
        )
        self.index = index
        self.paths = tuple(paths)


@dataclass(frozen=True, slots=True, init=False)
class Index:
    """An index over one or more paths; `("created", -1)` instead of `"created"` for a descending one.

    A path of an index is a *scalar* path (see Table) unless `many` is set: then each element of a list is indexed, for
    `has` and `In`. `unique`: no two documents have the same values; a document where one of the values is null or
    missing collides with nothing. (At the paths of a unique index, null is stored as missing: both mean the same.)
    `required` with `unique`: the values are never null, which the store enforces (Invalid); a compound unique index
    that can say so works on every MongoDB-compatible server, one that cannot needs MongoDB's partial indexes.
    `name` defaults to the paths joined by `_`.
    """

    fields: tuple[tuple[Path, Direction], ...]
    unique: bool
    many: bool
    required: bool
    name: str

    def __init__(
        self,
        fields: str | Iterable[PathLike | tuple[PathLike, Direction]],
        unique: bool = False,
        name: str | None = None,
        *,
        many: bool = False,
        required: bool = False,
    ) -> None:
        keys = tuple(_index_key(item) for item in ([fields] if isinstance(fields, str) else fields))
        if not keys or (many and (unique or len(keys) > 1)) or (required and not unique):
            raise Invalid.field("indexes", "an index needs fields; `many` stands alone; `required` goes with `unique`")
        object.__setattr__(self, "fields", keys)
        object.__setattr__(self, "unique", unique)
        object.__setattr__(self, "many", many)
        object.__setattr__(self, "required", required)
        object.__setattr__(self, "name", name or "_".join("_".join(path) for path, _ in keys))

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths alone."""
        return tuple(path for path, _ in self.fields)


def _index_key(item: Any) -> tuple[Path, Direction]:
    if isinstance(item, tuple) and len(item) == 2 and item[1] in (1, -1) and not isinstance(item[1], str):
        return path_of(item[0]), item[1]
    return path_of(item), 1


@dataclass(frozen=True, slots=True)
class Table:
    """A table (MongoDB: collection) and what the store keeps for it. `name` matches `NAME_PATTERN`.

    `scalars` are paths that never hold an array or an object, and whose steps never lead through an array; the store
    enforces that (Invalid on a write, Conflict from `ensure` where a stored document breaks it), and in return filters
    and sorting on them run straight on an index. The paths of indexes are scalars of themselves.
    """

    name: str
    indexes: tuple[Index, ...] = ()
    scalars: tuple[str | Path, ...] = ()

    @property
    def scalar_paths(self) -> frozenset[Path]:
        """Every path promised to be scalar: `scalars`, the paths of all indexes but `many` ones, and `id`."""
        indexed = {path for index in self.indexes if not index.many for path in index.paths}
        return frozenset({path_of(path) for path in self.scalars} | indexed | {("id",)})


@dataclass(frozen=True, slots=True, init=False)
class Change:
    """One atomic change of one document. Paths are `"a.b"` or tuples; no path may equal or contain another (Invalid).

    - `set`: the path gets the value; missing objects on the way are made. Invalid where the way is blocked by something
      that is not an object.
    - `unset`: the path is removed; nothing happens where it is missing.
    - `inc`: adds a number (below 1e290 in size, so that no sum becomes infinite); null or missing counts as 0. Invalid
      where it holds anything else, or leaves 64 bits.
    - `push`: appends the values to an array; null or missing counts as an empty one. Invalid where it holds no array.
      No values are no change, here and below.
    - `add_to_set`: the same, for those values (single ones only) that the array does not hold yet.
    - `remove`: takes every element out that equals one of the values (single ones only). Null, missing: no change.

    Equality in arrays is that of `=`, but for null, which here equals null alone and never a missing value.
    """

    set: Mapping[Path, Any]
    unset: tuple[Path, ...]
    inc: Mapping[Path, int | float]
    push: Mapping[Path, tuple[Any, ...]]
    add_to_set: Mapping[Path, tuple[Scalar, ...]]
    remove: Mapping[Path, tuple[Scalar, ...]]

    def __init__(
        self,
        set: Mapping[Any, Any] | None = None,
        unset: Iterable[PathLike] = (),
        inc: Mapping[Any, int | float] | None = None,
        *,
        push: Mapping[Any, Iterable[Any]] | None = None,
        add_to_set: Mapping[Any, Iterable[Scalar]] | None = None,
        remove: Mapping[Any, Iterable[Scalar]] | None = None,
    ) -> None:
        object.__setattr__(self, "set", {path_of(path): value for path, value in (set or {}).items()})
        object.__setattr__(self, "unset", tuple(path_of(path) for path in unset))
        object.__setattr__(self, "inc", {path_of(path): value for path, value in (inc or {}).items()})
        for name, given in (("push", push), ("add_to_set", add_to_set), ("remove", remove)):
            lists = {path_of(path): tuple(items) for path, items in (given or {}).items()}
            object.__setattr__(self, name, {path: items for path, items in lists.items() if items})
        self._check()

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every path that the change touches."""
        return (*self.set, *self.unset, *self.inc, *self.push, *self.add_to_set, *self.remove)

    def _check(self) -> None:
        paths = sorted(self.paths)
        for path, following in pairwise(paths):
            if following[: len(path)] == path:
                raise Invalid.field(".".join(path), "cannot be changed twice at once")
        for path in paths:
            if path[0] == "id":
                raise Invalid.field("id", "cannot be changed")
        for path, value in self.set.items():
            check_value(value, ".".join(path), len(path) + 1)
        for path, amount in self.inc.items():
            if isinstance(amount, bool) or not isinstance(check_scalar(amount, ".".join(path)), int | float):
                raise Invalid.field(".".join(path), "must be a number")
            if abs(amount) >= MAX_STEP:
                raise Invalid.field(".".join(path), "must be a smaller number")
        for path, items in self.push.items():
            check_value(list(items), ".".join(path), len(path) + 1)
        for path, items in (*self.add_to_set.items(), *self.remove.items()):
            for item in items:
                check_scalar(item, ".".join(path))


@dataclass(frozen=True, slots=True)
class After:
    """A keyset position: the sorted values of a document, in the order of the sort, and its `id`. See `position`."""

    values: tuple[Scalar, ...] = field(default=())
    id: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a database looks for documents: the names of the indexes that it searches (`"id"`: the primary key), whether
    it reads every document, and its own words for both."""

    indexes: tuple[str, ...]
    scans: bool
    lines: tuple[str, ...]


class Store(ABC):
    """One service's database. Methods other than `ensure`, `drop`, `rename` and `tables` want a table that this store
    object has been told of with `ensure`; for any other they raise ValueError, which is a mistake in the program.

    Sorting (`sort`, pairs of path and 1 or -1): null, missing, arrays and objects first, then numbers, strings (by code
    point), booleans; -1 turns all of that round. Ties are broken by `id`, in the direction of the last pair.
    """

    # -- tables ---------------------------------------------------------------------------------------------------

    @abstractmethod
    async def ensure(self, table: Table) -> None:
        """Makes the table and its indexes where they are missing; changed definitions of the same index name are built
        anew, other indexes stay. Idempotent. Duplicate where stored documents break a new unique index, Conflict
        where they break a new scalar path."""

    @abstractmethod
    async def prune(self, table: Table) -> list[str]:
        """Drops the indexes that `table` does not name; their names. This definition is what counts from now on."""

    @abstractmethod
    async def drop(self, table: str) -> None:
        """Removes the table with everything in it; nothing happens where there is none."""

    @abstractmethod
    async def rename(self, old: str, new: str) -> None:
        """The table `old` is `new` from now on. NotFound where there is no `old`, Conflict where there is a `new`."""

    @abstractmethod
    async def tables(self) -> list[str]:
        """The names of all tables, sorted."""

    # -- reading --------------------------------------------------------------------------------------------------

    @abstractmethod
    async def get(self, table: str, id: str) -> Document | None:
        """The document, or None. The gets of one turn of the event loop share one round trip."""

    @abstractmethod
    async def get_json(self, table: str, id: str) -> bytes | None:
        """The document as JSON text, or None; coalesced like `get`. For passing on untouched."""

    @abstractmethod
    async def get_many(self, table: str, ids: Sequence[str]) -> list[Document | None]:
        """The documents in the order of `ids`, None where there is none."""

    @abstractmethod
    async def find(
        self,
        table: str,
        where: Query = ALL,
        *,
        sort: Sort = (),
        limit: int | None = None,
        offset: int = 0,
        after: After | None = None,
        fields: Sequence[str] | None = None,
    ) -> list[Document]:
        """The matching documents in order; without `sort` by id. `after` continues behind a keyset position of the same
        sort, at constant cost where an index serves it. `fields`: top-level keys to return besides `id`."""

    @abstractmethod
    async def count(
        self, table: str, where: Query = ALL, limit: int | None = None, *, within: float | None = None
    ) -> int:
        """How many documents match; counts no further than `limit`. TimedOut where it takes longer than `within`
        seconds."""

    @abstractmethod
    async def explain(self, table: str, where: Query) -> Plan | None:
        """What the database says of how it would find the documents; None where it does not say."""

    @abstractmethod
    def scan(self, table: str, where: Query = ALL, *, batch: int = 500) -> AsyncIterator[Document]:
        """All matching documents by id, read in batches; documents written meanwhile may or may not be seen."""

    async def first(self, table: str, where: Query, *, sort: Sort = ()) -> Document | None:
        """The first matching document, or None."""
        found = await self.find(table, where, sort=sort, limit=1)
        return found[0] if found else None

    # -- writing --------------------------------------------------------------------------------------------------

    @abstractmethod
    async def insert(self, table: str, doc: Mapping[str, Any]) -> None:
        """A new document. Duplicate."""

    @abstractmethod
    async def insert_many(self, table: str, docs: Sequence[Mapping[str, Any]]) -> list[Duplicate | None]:
        """Each document by itself; for each None, or why it was not inserted. Invalid, before anything is written, if
        one of them cannot be stored at all."""

    @abstractmethod
    async def update(
        self,
        table: str,
        id: str,
        change: Change,
        where: Query = ALL,
        *,
        returning: Literal["after", "before"] = "after",
    ) -> Document | None:
        """Changes the document if it exists and matches `where`, in one atomic step; the document after (or before) the
        change, None if nothing was changed. Duplicate, Invalid."""

    @abstractmethod
    async def update_many(self, table: str, where: Query, change: Change) -> int:
        """Changes all matching documents, each atomically; how many. On an error some may have been changed."""

    @abstractmethod
    async def replace(self, table: str, doc: Mapping[str, Any], where: Query = ALL) -> Document | None:
        """Puts `doc` in the place of the document of the same id if that matches `where`; the document before, or None
        if there was none. Duplicate."""

    @abstractmethod
    async def upsert(self, table: str, doc: Mapping[str, Any]) -> bool:
        """Inserts `doc`, or puts it in the place of the document of the same id; True if it was inserted. Duplicate."""

    @abstractmethod
    async def delete(self, table: str, id: str, where: Query = ALL) -> Document | None:
        """Removes the document if it matches `where`; the document as it was, or None."""

    @abstractmethod
    async def delete_many(self, table: str, where: Query) -> int:
        """Removes all matching documents; how many."""

    # -- the store itself -----------------------------------------------------------------------------------------

    @abstractmethod
    async def ping(self) -> None:
        """Unavailable unless the database answers."""

    @abstractmethod
    async def close(self) -> None:
        """Finishes what was begun and lets go of everything; idempotent."""


def known_table(tables: Mapping[str, Known], name: str) -> Known:
    """What the store knows of a table that was ensured; ValueError for another: a mistake in the program."""
    known = tables.get(name)
    if known is None:
        raise ValueError(f"table {name!r} was not ensured with this store")
    return known


def both(left: Query, right: Query) -> Query:
    """`And` of two, without the needless ones."""
    if left == ALL:
        return right
    return left if right == ALL else And(left, right)


def by_id(id: str) -> Query:
    """The document of this id."""
    return Compare(Field(("id",)), "=", Value(id))
