"""The query tree in Python: the reference that the two databases are held to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cmp_to_key
from typing import Any

from fastcms_common.storage.query import (
    KINDS,
    All,
    And,
    Compare,
    Field,
    In,
    Kind,
    Not,
    Nothing,
    OfKind,
    Operand,
    Or,
    Path,
    Query,
    Value,
    path_of,
)
from fastcms_common.storage.store import After, Sort
from fastcms_common.storage.values import like, lower


def matches(query: Query, doc: Mapping[str, Any]) -> bool:
    """Whether the document is one that the query selects."""
    match query:
        case All():
            return True
        case Nothing():
            return False
        case And(parts):
            return all(matches(part, doc) for part in parts)
        case Or(parts):
            return any(matches(part, doc) for part in parts)
        case Not(part):
            return not matches(part, doc)
        case Compare(left, op, right, some):
            pairs = [holds(op, a, b) for a in values_of(left, doc) for b in values_of(right, doc)]
            return any(pairs) if some else bool(pairs) and all(pairs)
        case In(field):
            singles = (value for value in values_of(field, doc) if kind_of(value))
            return any((isinstance(value, bool), value) in query.members for value in singles)
        case OfKind(field, kinds):
            return (kind_of(at(doc, field.path)) or "null") in kinds


def at(doc: Mapping[str, Any], path: Path) -> Any:
    """What the document holds at the path; None where there is nothing."""
    here: Any = doc
    for step in path:
        if not isinstance(here, Mapping):
            return None
        here = here.get(step)
    return here


def values_of(operand: Operand, doc: Mapping[str, Any]) -> list[Any]:
    """The values of an operand: as many as an array has elements, else one."""
    if isinstance(operand, Value):
        return list(operand.value) if isinstance(operand.value, tuple) else [operand.value]
    held = at(doc, operand.path)
    values = list(held) if isinstance(held, list | tuple) else [held]
    if operand.length:
        return [0 if held is None else len(values)]
    if operand.lower:
        return [lower(value) if isinstance(value, str) else value for value in values]
    return values


def kind_of(value: Any) -> Kind | None:
    """The kind of a single value; None for objects and arrays, which have none."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else None


def holds(op: str, left: Any, right: Any) -> bool:
    """Whether `left op right` for two single values."""
    if op == "!=":
        return not holds("=", left, right)
    if op == "!~":
        return not holds("~", left, right)
    kind = kind_of(left)
    if kind is None or kind != kind_of(right):
        return False
    if op == "=":
        return bool(left == right)
    if op == "~":
        return kind == "string" and like(left, right)
    if kind == "null":
        return False
    return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[op])


def rank(value: Any) -> tuple[int, Any]:
    """The place of a value in sorting: comparable with the rank of any other."""
    kind = kind_of(value)
    return (0, 0) if kind is None or kind == "null" else (KINDS.index(kind), value)


def sort_key(sort: Sort) -> Any:
    """The `key=` function that puts documents into the order of `sort`."""
    keys = [(path_of(path), direction) for path, direction in sort]
    keys.append((("id",), keys[-1][1] if keys else 1))

    def compare(left: Mapping[str, Any], right: Mapping[str, Any]) -> int:
        for path, direction in keys:
            a, b = rank(at(left, path)), rank(at(right, path))
            if a != b:
                return direction if a > b else -direction
        return 0

    return cmp_to_key(compare)


def position(doc: Mapping[str, Any], sort: Sort) -> After:
    """The keyset position of a document: give it to `find(..., after=...)` to go on behind it."""
    values = (at(doc, path_of(path)) for path, _ in sort)
    return After(tuple(value if kind_of(value) else None for value in values), str(doc["id"]))


__all__ = ["Field", "at", "holds", "kind_of", "matches", "position", "rank", "sort_key", "values_of"]
