"""A change as a MongoDB update.

MongoDB's operators take a missing field for 0 or an empty array, but refuse null; and `$pullAll` refuses some paths
that lead to no list. What is null in the stored document becomes a plain `$set`, what is no list is left out of
`$pullAll`, under the condition that this is still so when the update is made.
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
    nulls = [path for part in (change.inc, change.push, change.add_to_set) for path in part if _is_null(doc, path)]
    listless = [path for path in change.remove if not isinstance(at(doc, path), list)]
    kept = Change(
        {**change.set, **{path: at(after, path) for path in nulls}},
        change.unset,
        _without(change.inc, nulls),
        push=_without(change.push, nulls),
        add_to_set=_without(change.add_to_set, nulls),
        remove=_without(change.remove, listless),
    )
    still_null = [{mongo_path(path): {"$type": "null"}} for path in nulls]
    return Step(kept, (*still_null, *map(_no_list, [*nulls, *listless])))


def _without(part: Mapping[Path, Any], paths: list[Path]) -> dict[Path, Any]:
    return {path: item for path, item in part.items() if path not in paths}


def _no_list(path: Path) -> dict[str, Any]:
    """No list is at the path; one on the way to it, through which MongoDB would look, blocks it."""
    ways = [{mongo_path(path[:end]): {"$type": "array"}} for end in range(1, len(path))]
    return {"$or": [*ways, {mongo_path(path): {"$not": {"$type": "array"}}}]}


def _is_null(doc: Document, path: Path) -> bool:
    parent = at(doc, path[:-1]) if len(path) > 1 else doc
    return isinstance(parent, Mapping) and path[-1] in parent and parent[path[-1]] is None
