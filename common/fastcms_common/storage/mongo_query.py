"""The query tree as a MongoDB filter.

MongoDB's own reading of a filter differs from ours in four places, and each has its answer here:

- A path leads through arrays (`{"a.b": 1}` finds `{a: [{b: 1}]}`): each step before the last gets a guard against them.
- A condition on an array holds if it holds for *one* element: a plain operator adds that no element is an exception.
- `{a: null}` finds missing fields too, which is what we mean; but a guarded path is null where the guard fails.
- `$lt` and its like compare within the literal's own type, as ours do; numbers of all types are one type.

At scalar paths (see `Table`) none of this is needed, and the filter is the bare condition that an index serves.
Literals stand as operands of operators only, and only scalars: no text from outside is ever a key. Regular expressions
are written out with a class of letters for each letter that has case: no engine's own notion of case is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import Any, TypeAlias

from fastcms_common.storage import mongo_expressions as expressions
from fastcms_common.storage.mongo_codec import mongo_path
from fastcms_common.storage.plan import ID, simplify
from fastcms_common.storage.predicate import holds
from fastcms_common.storage.query import (
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
)
from fastcms_common.storage.values import MAX_BYTES, Scalar, folding_to, lowering_to

Filter: TypeAlias = dict[str, Any]

EVERYTHING: Filter = {}
# `$in` of nothing is what MongoDB itself plans as an empty result.
NO_DOCUMENT: Filter = {"_id": {"$in": []}}

_OPERATORS = {"=": "$eq", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
_TYPES: dict[Kind, str] = {"number": "number", "string": "string", "bool": "bool"}
# No array is longer: a document is not that large.
MAX_LENGTH = MAX_BYTES
# Lengths up to this are asked for one by one with $size, which every server knows.
COUNTED_ONE_BY_ONE = 64


def filter_of(query: Query, scalars: frozenset[Path]) -> Filter:
    """The filter that finds exactly the documents that the query selects."""
    return _Compiler(scalars).compile(simplify(query))


class _Compiler:
    def __init__(self, scalars: frozenset[Path]) -> None:
        self._scalars = scalars

    def compile(self, query: Query) -> Filter:
        match query:
            case All():
                return EVERYTHING
            case Nothing():
                return NO_DOCUMENT
            case And(parts):
                return _all([self.compile(part) for part in parts])
            case Or(parts):
                return _any([self.compile(part) for part in parts])
            case Not(part):
                return _not(self.compile(part))
            case OfKind(field, kinds):
                return self._of_kinds(field.path, kinds)
            case In(field, values):
                return self._in(field, values)
            case Compare(Field() as left, op, Field() as right, some):
                return {"$expr": expressions.comparison(left, op, right, some, self._scalars)}
            case Compare(Field() as left, op, Value(value), some) if not isinstance(value, tuple):
                if left.length:
                    return self._length(left.path, op, value)
                return self._literal(left, op, value, some)
        raise AssertionError(f"simplify leaves no {query}")

    def _in(self, field: Field, values: Sequence[Scalar]) -> Filter:
        if field.lower:
            return _any([self._literal(field, "=", value, True) for value in values])
        found = {mongo_path(field.path): {"$in": list(values)}}
        if None in values:
            return self._or_blocked(field.path, found)
        return self._guarded(field.path, found)

    def _literal(self, field: Field, op: Op, value: Scalar, some: bool) -> Filter:
        """A field against a single literal: `condition` is what one value must meet, or, negated, must not."""
        if field.path == ID and op == "=" and isinstance(value, str) and not field.lower:
            # The one form that servers recognise as a read by id.
            return {"_id": value}
        negated = op in ("!=", "!~")
        condition = _condition("=" if op == "!=" else "~" if op == "!~" else op, value, lower=field.lower)
        path = mongo_path(field.path)
        holds_for_null = holds(op, None, value)
        if field.path in self._scalars:
            found: Filter = {path: {"$not": condition}} if negated else {path: condition}
        elif negated and some:
            single = _all([{path: {"$not": condition}}, {path: _NOT_ARRAY}])
            found = _any([single, _all([{path: _ARRAY}, {path: {"$elemMatch": _unlike(condition)}}])])
        elif negated:
            found = _all([{path: {"$not": condition}}, {path: {"$not": {"$size": 0}}}])
        elif some:
            found = {path: condition}
        else:
            no_exception = {path: {"$not": {"$elemMatch": _unlike(condition)}}}
            found = _all([{path: condition}, _any([{path: _NOT_ARRAY}, no_exception])])
        return self._or_blocked(field.path, found) if holds_for_null else self._guarded(field.path, found)

    def _length(self, path: Path, op: Op, number: Scalar) -> Filter:
        if op in ("!=", ">", ">="):
            return _not(self._length(path, {"!=": "=", ">": "<=", ">=": "<"}[op], number))  # type: ignore[arg-type]
        if not isinstance(number, int | float):
            raise AssertionError("simplify leaves no length beside anything but a number")
        first, last = _lengths(op, number)
        last = min(last, 1 if path in self._scalars else MAX_LENGTH)
        if first > last:
            return NO_DOCUMENT
        if last > COUNTED_ONE_BY_ONE:
            return {"$expr": expressions.length_within(path, first, last, self._scalars)}
        at = mongo_path(path)
        ways: list[Filter] = [{at: {"$size": length}} for length in range(first, last + 1)]
        found = [self._guarded(path, _any(ways))] if ways and path not in self._scalars else []
        if first <= 0 <= last:
            found.append(self._of_no_value(path))
        if first <= 1 <= last:
            found.append(_not(_any([self._of_no_value(path), self._guarded(path, {at: _ARRAY})])))
        return _any(found)

    def _of_no_value(self, path: Path) -> Filter:
        at = mongo_path(path)
        null: Filter = {at: {"$eq": None}}
        return null if path in self._scalars else self._or_blocked(path, _all([null, {at: _NOT_ARRAY}]))

    def _of_kinds(self, path: Path, kinds: frozenset[Kind]) -> Filter:
        if path == ID:
            return EVERYTHING if "string" in kinds else NO_DOCUMENT
        if "null" in kinds:
            return _not(self._of_kinds(path, frozenset(_TYPES) - kinds)) if len(kinds) < 4 else EVERYTHING
        if not kinds:
            return NO_DOCUMENT
        at = mongo_path(path)
        found: Filter = _any([{at: {"$type": _TYPES[kind]}} for kind in sorted(kinds)])
        return found if path in self._scalars else self._guarded(path, _all([found, {at: _NOT_ARRAY}]))

    def _guarded(self, path: Path, found: Filter) -> Filter:
        """`found`, where no step before the last is an array."""
        return _all([found, *({step: _NOT_ARRAY} for step in self._steps(path))])

    def _or_blocked(self, path: Path, found: Filter) -> Filter:
        """`found`, or a step before the last is an array: the path is null then."""
        steps = self._steps(path)
        if not steps:
            return found
        return _any([*({step: _ARRAY} for step in steps), self._guarded(path, found)])

    def _steps(self, path: Path) -> list[str]:
        return [] if path in self._scalars else [mongo_path(path[:end]) for end in range(1, len(path))]


_ARRAY: Filter = {"$type": "array"}
_NOT_ARRAY: Filter = {"$not": {"$type": "array"}}
# No value meets this.
_NEVER: Filter = {"$in": []}


def _condition(op: str, value: Scalar, *, lower: bool) -> Filter:
    if op == "~":
        return {"$regex": pattern_of(value)} if isinstance(value, str) else _NEVER
    if lower and isinstance(value, str):
        classes = [lowering_to(char) for char in value]
        return {"$regex": rf"\A{''.join(map(_one_of, classes))}\z"} if all(classes) else _NEVER
    return {_OPERATORS[op]: value}


def _unlike(condition: Filter) -> Filter:
    """What the elements meet that do not meet `condition`."""
    return {"$ne": condition["$eq"]} if "$eq" in condition else {"$not": condition}


def pattern_of(pattern: str) -> str:
    """The regular expression of a `~` literal, free of flags and the same to PCRE, RE2 and Python but for `\\z`."""
    parts = ["".join(_one_of(folding_to(char)) for char in part) for part in pattern.split("%")]
    if len(parts) == 1:
        return parts[0]
    return r"\A" + r"[\s\S]*".join(parts) + r"\z"


def _one_of(chars: str) -> str:
    if len(chars) > 1:
        return f"[{chars}]"
    plain = not chars.isascii() or chars.isalnum() or chars == "_" or chars.isspace() or not chars.isprintable()
    return chars if plain else f"\\{chars}"


def _lengths(op: str, number: int | float) -> tuple[int, int]:
    """The lengths for which `length op number`, as the first and the last; the last before the first for none."""
    if op == "=":
        return (int(number), int(number)) if number == floor(number) and number >= 0 else (1, 0)
    return 0, ceil(number) - 1 if op == "<" else floor(number)


def _all(parts: Sequence[Filter]) -> Filter:
    kept = [part for part in parts if part]
    return kept[0] if len(kept) == 1 else {"$and": kept} if kept else EVERYTHING


def _any(parts: Sequence[Filter]) -> Filter:
    if not parts:
        return NO_DOCUMENT
    if not all(parts):
        return EVERYTHING
    return parts[0] if len(parts) == 1 else {"$or": list(parts)}


def _not(part: Filter) -> Filter:
    return {"$nor": [part]}
