"""Tables and indexes of a MongoDB database, made to fit their definitions.

What a collection has been checked for is written down in the collection `_tables`, so that a process that starts need
not read every document again.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import CollectionInvalid, OperationFailure

from fastcms_common.errors import Conflict, Invalid, NotFound
from fastcms_common.storage.mongo_codec import mongo_path
from fastcms_common.storage.mongo_errors import DUPLICATE_KEY, index_name
from fastcms_common.storage.plan import ID
from fastcms_common.storage.query import Path
from fastcms_common.storage.rules import TableRules
from fastcms_common.storage.store import NAME_PATTERN, Duplicate, Index

Database: TypeAlias = AsyncDatabase[dict[str, Any]]

_CHECKED = "_tables"
_NAMESPACE_NOT_FOUND = 26
_NAMESPACE_EXISTS = 48


async def names(db: Database) -> list[str]:
    """All tables, sorted."""
    return sorted(name for name in await db.list_collection_names() if re.fullmatch(NAME_PATTERN, name))


async def ensure(db: Database, rules: TableRules) -> None:
    """See `Store.ensure`."""
    await _create(db, rules.name)
    await _check(db, rules)
    present = await _indexes(db, rules.name)
    for index in rules.indexes:
        name, wanted = index_name(index), _definition(index)
        if present.get(name) == wanted:
            continue
        if name in present:
            await db[rules.name].drop_index(name)
        try:
            await db[rules.name].create_indexes([IndexModel(**wanted, name=name)])
        except OperationFailure as error:
            if error.code == DUPLICATE_KEY:
                raise Duplicate(index.name, [".".join(path) for path in index.paths]) from error
            raise


async def prune(db: Database, rules: TableRules) -> list[str]:
    """See `Store.prune`."""
    wanted = {index_name(index) for index in rules.indexes}
    dropped = sorted(set(await _indexes(db, rules.name)) - wanted)
    for name in dropped:
        await db[rules.name].drop_index(name)
    return [name.removeprefix("ix_") for name in dropped]


async def drop(db: Database, table: str) -> None:
    """See `Store.drop`."""
    await db[_CHECKED].delete_one({"_id": table})
    await db.drop_collection(table)


async def rename(db: Database, old: str, rules: TableRules) -> None:
    """See `Store.rename`; `rules` are those of the new name."""
    existing = await names(db)
    if old not in existing:
        raise NotFound(f"There is no table {old}.")
    if rules.name in existing:
        raise Conflict(f"There is a table {rules.name} already.")
    try:
        await db[old].rename(rules.name)
    except OperationFailure as error:
        if error.code == _NAMESPACE_EXISTS:
            raise Conflict(f"There is a table {rules.name} already.") from error
        if error.code == _NAMESPACE_NOT_FOUND:
            raise NotFound(f"There is no table {old}.") from error
        raise
    await db[_CHECKED].delete_one({"_id": old})
    await _remember(db, rules)


async def _create(db: Database, name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise Invalid.field("table", f"{name!r} is not a table name")
    try:
        await db.create_collection(name)
    except CollectionInvalid:
        return
    except OperationFailure as error:
        if error.code != _NAMESPACE_EXISTS:
            raise


async def _indexes(db: Database, table: str) -> dict[str, dict[str, Any]]:
    found = {}
    async for index in await db[table].list_indexes():
        if index["name"] != "_id_":
            parts = {key: index[key] for key in ("unique", "sparse", "partialFilterExpression") if index.get(key)}
            found[index["name"]] = {"keys": [(key, int(way)) for key, way in index["key"].items()], **parts}
    return found


def _definition(index: Index) -> dict[str, Any]:
    """The index as `IndexModel` takes it. A non-unique one ends in the id, so that ties need no sorting.

    Null must collide with nothing. It is stored as missing at these paths, so one path alone needs but a sparse index;
    a sparse index over several would still hold documents that lack some, which takes a partial one.
    """
    keys = [(mongo_path(path), way) for path, way in index.fields]
    if not index.unique:
        return {"keys": keys if index.many or ID in index.paths else [*keys, ("_id", keys[-1][1])]}
    if index.required or index.paths == (ID,):
        return {"keys": keys, "unique": True}
    if len(keys) == 1:
        return {"keys": keys, "unique": True, "sparse": True}
    present = {path: {"$exists": True} for path, _ in keys}
    return {"keys": keys, "unique": True, "partialFilterExpression": present}


async def _check(db: Database, rules: TableRules) -> None:
    """Stored documents must keep what the definition promises, where that promise is new."""
    known = await db[_CHECKED].find_one({"_id": rules.name}) or {}
    collection = db[rules.name]
    for path in _new(rules.scalars, known, "scalars"):
        steps = [{mongo_path(path[:end]): {"$type": "array"}} for end in range(1, len(path) + 1)]
        if await collection.find_one({"$or": [*steps, {mongo_path(path): {"$type": "object"}}]}, {"_id": 1}):
            raise _broken(path, "a list or an object")
    for path in _new(rules.required, known, "required"):
        if await collection.find_one({mongo_path(path): None}, {"_id": 1}):
            raise _broken(path, "nothing")
    for path in _new(rules.nullable, known, "nullable"):
        await collection.update_many({mongo_path(path): {"$type": "null"}}, {"$unset": {mongo_path(path): ""}})
    await _remember(db, rules)


async def _remember(db: Database, rules: TableRules) -> None:
    kept = {name: sorted(map(mongo_path, getattr(rules, name))) for name in ("scalars", "required", "nullable")}
    await db[_CHECKED].replace_one({"_id": rules.name}, kept, upsert=True)


def _new(paths: frozenset[Path], known: dict[str, Any], name: str) -> list[Path]:
    return sorted(path for path in paths - {ID} if mongo_path(path) not in known.get(name, ()))


def _broken(path: Path, what: str) -> Conflict:
    return Conflict(f"Documents hold {what} at {'.'.join(path)}.", metadata={"path": ".".join(path)})
