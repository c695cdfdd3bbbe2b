"""What both engines do with a query before they compile it: sugar off, keyset positions into ranges."""

from __future__ import annotations

from fastcms_common.errors import Invalid
from fastcms_common.storage.predicate import holds, kind_of
from fastcms_common.storage.query import (
    ALL,
    KINDS,
    NONE,
    ORDERED_OPS,
    All,
    And,
    Compare,
    Field,
    In,
    Kind,
    Not,
    Nothing,
    OfKind,
    Op,
    Or,
    Path,
    Query,
    Value,
    path_of,
)
from fastcms_common.storage.store import After, Direction, Sort
from fastcms_common.storage.values import Scalar

_FLIPPED: dict[str, Op] = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
ID: Path = ("id",)


def simplify(query: Query) -> Query:
    """The same query with fewer forms. What is left: All or Nothing as the whole, And and Or of two parts or more, Not,
    OfKind, In with values and without `length`, Compare of a field with a single literal or with another field."""
    match query:
        case And(parts):
            return _joined(parts, And, neutral=ALL, final=NONE)
        case Or(parts):
            return _joined(parts, Or, neutral=NONE, final=ALL)
        case Not(part):
            return _negated(simplify(part))
        case Compare(left, op, right, some):
            return _compared(left, op, right, some)
        case In(field, values):
            if field.length:
                return simplify(Or(*(Compare(field, "=", Value(value)) for value in values)))
            return query if values else NONE
        case OfKind(_, kinds):
            return _of_kind(query, kinds)
    return query


def _joined(parts: tuple[Query, ...], join: type[And | Or], *, neutral: Query, final: Query) -> Query:
    kept: list[Query] = []
    for part in map(simplify, parts):
        if part == final:
            return final
        if isinstance(part, join):
            kept.extend(part.parts)
        elif part != neutral:
            kept.append(part)
    if len(kept) < 2:
        return kept[0] if kept else neutral
    return join(*kept)


def _negated(part: Query) -> Query:
    if isinstance(part, Not):
        return part.part
    if isinstance(part, All | Nothing):
        return NONE if isinstance(part, All) else ALL
    return Not(part)


def _of_kind(query: OfKind, kinds: frozenset[Kind]) -> Query:
    if not kinds:
        return NONE
    return ALL if len(kinds) == len(KINDS) else query


def _compared(left: Field | Value, op: Op, right: Field | Value, some: bool) -> Query:
    if isinstance(left, Value):
        if isinstance(right, Field):
            return _compared(right, _FLIPPED[op], left, some)
        pairs = [holds(op, a, b) for a in _items(left) for b in _items(right)]
        return ALL if (any(pairs) if some else pairs and all(pairs)) else NONE
    if isinstance(right, Field):
        return Compare(left, op, right, some)
    if isinstance(right.value, tuple):
        if not right.value:
            return NONE
        if some and op == "=" and not left.length:
            return In(left, right.value)
        each = (Compare(left, op, Value(item), some) for item in right.value)
        return simplify(Or(*each) if some else And(*each))
    if _never(op, right.value):
        return NONE
    if left.length and (op in ("~", "!~") or kind_of(right.value) != "number"):
        # A length is a number: against anything else the outcome is the same for all.
        return ALL if holds(op, 0, right.value) else NONE
    return Compare(left, op, right, some)


def _never(op: str, value: Scalar) -> bool:
    return (op in ORDERED_OPS and value is None) or (op == "~" and not isinstance(value, str))


def _items(value: Value) -> tuple[Scalar, ...]:
    return value.value if isinstance(value.value, tuple) else (value.value,)


def full_sort(sort: Sort) -> tuple[tuple[Path, Direction], ...]:
    """The sort with `id` as its last key, and no key twice."""
    keys: dict[Path, Direction] = {}
    for path, direction in sort:
        if direction not in (1, -1):
            raise Invalid.field("sort", "a direction is 1 or -1")
        keys.setdefault(path_of(path), direction)
        if path_of(path) == ID:
            return tuple(keys.items())
    keys[ID] = next(reversed(keys.values()), 1)
    return tuple(keys.items())


def ranges_after(sort: Sort, after: After, scalars: frozenset[Path]) -> list[Query]:
    """What lies behind a keyset position, cut into ranges that do not overlap and follow one another in the order of
    the sort. Each is a stretch of one index, so reading them one after the other costs the same wherever the position
    is: with one condition of `or`s databases start to sort all the rest."""
    if len(after.values) != len(sort):
        raise Invalid.field("cursor", "does not belong to this sort")
    known = {path_of(path): value for (path, _), value in zip(sort, after.values, strict=True)}
    known[ID] = after.id
    keys = full_sort(sort)
    ranges: list[Query] = []
    for depth in reversed(range(len(keys))):
        path, direction = keys[depth]
        same = [_same(earlier, known[earlier], scalars) for earlier, _ in keys[:depth]]
        ranges.extend(And(*same, part) for part in _beyond(path, direction, known[path], scalars))
    return ranges


def _same(path: Path, value: Scalar, scalars: frozenset[Path]) -> Query:
    if value is None:
        return OfKind(path, ("null",))
    return _only_scalar(path, Compare(Field(path), "=", Value(value)), value, scalars)


def _only_scalar(path: Path, query: Query, value: Scalar, scalars: frozenset[Path]) -> Query:
    kind = kind_of(value)
    return query if path in scalars or kind is None else And(OfKind(path, (kind,)), query)


def _beyond(path: Path, direction: Direction, value: Scalar, scalars: frozenset[Path]) -> list[Query]:
    kind = kind_of(value)
    if kind is None:
        raise Invalid.field("cursor", "does not belong to this sort")
    ranges: list[Query] = []
    if kind != "null":
        further = Compare(Field(path), ">" if direction == 1 else "<", Value(value))
        ranges.append(_only_scalar(path, further, value, scalars))
    if path == ID:
        return ranges
    place = KINDS.index(kind)
    kinds = KINDS[place + 1 :] if direction == 1 else tuple(reversed(KINDS[:place]))
    return ranges + [OfKind(path, (following,)) for following in kinds]
