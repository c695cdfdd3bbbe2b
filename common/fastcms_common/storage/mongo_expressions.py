"""What a MongoDB filter cannot say: a field against another field, long lengths, and keys to sort by. Aggregation
expressions, for `$expr` and `$addFields`."""

from __future__ import annotations

from typing import Any, TypeAlias

from fastcms_common.storage.mongo_codec import mongo_path
from fastcms_common.storage.query import Field, Op, Path

Expression: TypeAlias = Any

_OPERATORS = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}


def comparison(left: Field, op: Op, right: Field, some: bool, scalars: frozenset[Path]) -> Expression:
    """`left op right` over all pairs of their values."""
    lefts, rights = _values(left, scalars), _values(right, scalars)
    pair = _pair("$$left", op, "$$right")
    fold = "$anyElementTrue" if some else "$allElementsTrue"
    row = {fold: [{"$map": {"input": rights, "as": "right", "in": pair}}]}
    table = {fold: [{"$map": {"input": lefts, "as": "left", "in": row}}]}
    if some:
        return table
    # The brackets are the list of arguments: an array as the only argument would be taken for it.
    return {"$and": [{"$gt": [{"$size": [lefts]}, 0]}, {"$gt": [{"$size": [rights]}, 0]}, table]}


def length_within(path: Path, first: int, last: int, scalars: frozenset[Path]) -> Expression:
    """The length of the path lies between `first` and `last`, both included."""
    length = _length(path, scalars)
    return {"$and": [{"$gte": [length, first]}, {"$lte": [length, last]}]}


def sort_key(path: Path, scalars: frozenset[Path]) -> Expression:
    """The value of the path; null for what has no order."""
    held = _held(path, scalars)
    return {"$cond": [{"$in": [{"$type": held}, ["array", "object"]]}, None, held]}


def _held(path: Path, scalars: frozenset[Path]) -> Expression:
    """What the document holds at the path, null for nothing. A path through an array would give an array of finds."""
    held: Expression = {"$ifNull": [f"${mongo_path(path)}", None]}
    steps = [] if path in scalars else [f"${mongo_path(path[:end])}" for end in range(1, len(path))]
    return {"$cond": [{"$or": [{"$isArray": [step]} for step in steps]}, None, held]} if steps else held


def _values(field: Field, scalars: frozenset[Path]) -> Expression:
    if field.length:
        return [_length(field.path, scalars)]
    held = _held(field.path, scalars)
    return {"$cond": [{"$isArray": [held]}, held, [held]]}


def _length(path: Path, scalars: frozenset[Path]) -> Expression:
    held = _held(path, scalars)
    single = {"$cond": [{"$eq": [held, None]}, 0, 1]}
    return {"$cond": [{"$isArray": [held]}, {"$size": held}, single]}


def _pair(left: Expression, op: Op, right: Expression) -> Expression:
    if op == "!=":
        return {"$not": [_pair(left, "=", right)]}
    kind = _kind(left)
    alike = [{"$ne": [kind, "none"]}, {"$eq": [kind, _kind(right)]}]
    if op == "=":
        return {"$and": [*alike, {"$eq": [left, right]}]}
    return {"$and": [*alike, {"$ne": [kind, "null"]}, {_OPERATORS[op]: [left, right]}]}


def _kind(value: Expression) -> Expression:
    kinds = {"number": ["int", "long", "double", "decimal"], "null": ["null", "undefined", "missing"]}
    branches = [{"case": {"$in": [{"$type": value}, types]}, "then": kind} for kind, types in kinds.items()]
    branches += [{"case": {"$eq": [{"$type": value}, kind]}, "then": kind} for kind in ("string", "bool")]
    return {"$switch": {"branches": branches, "default": "none"}}
