"""A change applied in Python: what SQLite's writer does between reading and writing; the reference for MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fastcms_common.errors import Invalid
from fastcms_common.storage.predicate import kind_of
from fastcms_common.storage.query import Path
from fastcms_common.storage.store import Change
from fastcms_common.storage.values import INT_MAX, INT_MIN, Document, Scalar

_MISSING: Any = object()


def apply(change: Change, doc: Document) -> Document:
    """The document after the change; `doc` stays as it is. Invalid where the document does not allow the change."""
    changed = dict(doc)
    for path, value in change.set.items():
        _at(changed, path, partial(_replaced, value))
    for path in change.unset:
        _at(changed, path, partial(_replaced, _MISSING), make=False)
    for path, amount in change.inc.items():
        _at(changed, path, partial(_added, path, amount))
    for path, items in change.push.items():
        _at(changed, path, partial(_pushed, path, items))
    for path, values in change.add_to_set.items():
        _at(changed, path, partial(_united, path, values))
    for path, values in change.remove.items():
        _at(changed, path, partial(_without, path, values), make=False)
    return changed


def same(left: Any, right: Scalar) -> bool:
    """Whether an element of an array equals a single value; unlike kinds differ, and null is equal to null."""
    kind = kind_of(left)
    return kind is not None and kind == kind_of(right) and bool(left == right)


def blocked(path: Path) -> Invalid:
    """The way to a path leads through something that is not an object."""
    return Invalid.field(".".join(path), "lies within something that is not an object")


def _at(doc: Document, path: Path, new: Callable[[Any], Any], *, make: bool = True) -> None:
    here = doc
    for step in path[:-1]:
        inner = here.get(step, _MISSING)
        if inner is _MISSING and make:
            inner = {}
        if not isinstance(inner, Mapping):
            if make:
                raise blocked(path)
            return
        here[step] = inner = dict(inner)
        here = inner
    value = new(here.get(path[-1], _MISSING))
    if value is not _MISSING:
        here[path[-1]] = value
    else:
        here.pop(path[-1], None)


def _replaced(value: Any, _: Any) -> Any:
    return value


def _added(path: Path, amount: int | float, held: Any) -> int | float:
    if held is _MISSING or held is None:
        return amount
    if kind_of(held) != "number":
        raise Invalid.field(".".join(path), "is not a number")
    total: int | float = held + amount
    if isinstance(total, int) and not INT_MIN <= total <= INT_MAX:
        raise Invalid.field(".".join(path), "would no longer be an integer of at most 64 bits")
    return total


def _list(path: Path, held: Any) -> list[Any]:
    if held is _MISSING or held is None:
        return []
    if not isinstance(held, list | tuple):
        raise Invalid.field(".".join(path), "is not a list")
    return list(held)


def _pushed(path: Path, items: tuple[Any, ...], held: Any) -> list[Any]:
    return [*_list(path, held), *items]


def _united(path: Path, values: tuple[Scalar, ...], held: Any) -> list[Any]:
    items = _list(path, held)
    for value in values:
        if not any(same(item, value) for item in items):
            items.append(value)
    return items


def _without(path: Path, values: tuple[Scalar, ...], held: Any) -> Any:
    if held is _MISSING or held is None:
        return held
    return [item for item in _list(path, held) if not any(same(item, value) for value in values)]
