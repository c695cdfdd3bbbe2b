"""A change as a MongoDB update.

MongoDB's operators take a missing field for 0 or an empty array, but refuse null. What is null in the stored document
becomes a plain `$set`, under the condition that it is still null when the update is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastcms_common.storage.changes import apply
from fastcms_common.storage.mongo_codec import encode_value, mongo_path
from fastcms_common.storage.predicate import at
from fastcms_common.storage.query import Path
from fastcms_common.storage.store import Change
from fastcms_common.storage.values import Document

# `$type` looks into arrays as well.
_STILL_NULL: tuple[dict[str, Any], ...] = ({"$type": "null"}, {"$not": {"$type": "array"}})


@dataclass(frozen=True, slots=True)
class Step:
    """A change, and what must hold of the document, besides the caller's condition, for it to be right."""

    change: Change
    conditions: tuple[dict[str, Any], ...] = ()


def update_of(change: Change) -> dict[str, Any]:
    """The update document; empty for a change of nothing."""
    operators: dict[str, dict[str, Any]] = {
        "$set": {mongo_path(path): encode_value(value) for path, value in change.set.items()},
        "$unset": {mongo_path(path): "" for path in change.unset},
        "$inc": {mongo_path(path): amount for path, amount in change.inc.items()},
        "$push": {mongo_path(path): {"$each": encode_value(items)} for path, items in change.push.items()},
        "$addToSet": {mongo_path(path): {"$each": list(items)} for path, items in change.add_to_set.items()},
        "$pullAll": {mongo_path(path): list(items) for path, items in change.remove.items()},
    }
    return {name: arguments for name, arguments in operators.items() if arguments}


def adapted(change: Change, doc: Document) -> Step:
    """The change as MongoDB takes it for a document as it is now. Invalid where the document does not allow it."""
    after = apply(change, doc)
    nulls = [path for path in _wanting(change) if _is_null(doc, path)]
    new = {path: at(after, path) for path in nulls if path not in change.remove}
    kept = [{path: item for path, item in part.items() if path not in nulls} for part in _parts(change)]
    inc, push, add_to_set, remove = kept
    conditions = [{mongo_path(path): condition} for path in nulls for condition in _STILL_NULL]
    return Step(
        Change({**change.set, **new}, change.unset, inc, push=push, add_to_set=add_to_set, remove=remove),
        tuple(conditions),
    )


def _parts(change: Change) -> tuple[Mapping[Path, Any], ...]:
    return change.inc, change.push, change.add_to_set, change.remove


def _wanting(change: Change) -> list[Path]:
    return [path for part in _parts(change) for path in part]


def _is_null(doc: Document, path: Path) -> bool:
    parent = at(doc, path[:-1]) if len(path) > 1 else doc
    return isinstance(parent, Mapping) and path[-1] in parent and parent[path[-1]] is None
