"""How MongoDB itself reads a filter and an expression, as its manual and its server's sources tell (5.0 to 8.0).

No stand-in knows all that the engine uses, so what is compiled is held against this model too. It knows what the
engine may emit and nothing else: an unknown operator is an error. Where versions or sources differ (what a path through
an array without objects yields) the model is asked both ways, and the engine must not care.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING"})()

_ORDER = ["null", "number", "string", "object", "array", "bool"]
_COMPARISONS = {
    "$lt": lambda sign: sign < 0,
    "$lte": lambda sign: sign <= 0,
    "$gt": lambda sign: sign > 0,
    "$gte": lambda sign: sign >= 0,
}


def kind(value: Any) -> str:
    """The canonical type of a value; missing compares as null."""
    if value is None or value is MISSING:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", dict: "object", list: "array"}[type(value)]


def compare(left: Any, right: Any) -> int:
    """BSON comparison: by type, then by value; -1, 0, 1."""
    if kind(left) != kind(right):
        return _sign(_ORDER.index(kind(left)), _ORDER.index(kind(right)))
    if kind(left) == "null":
        return 0
    if kind(left) == "array":
        signs = (compare(a, b) for a, b in zip(left, right, strict=False))
        return next((sign for sign in signs if sign), _sign(len(left), len(right)))
    if kind(left) == "object":
        pairs = zip(left.items(), right.items(), strict=False)
        signs = (
            _sign(_ORDER.index(kind(a)), _ORDER.index(kind(b))) or _sign(x, y) or compare(a, b)
            for (x, a), (y, b) in pairs
        )
        return next((sign for sign in signs if sign), _sign(len(left), len(right)))
    return _sign(left, right)


def _sign(left: Any, right: Any) -> int:
    return (left > right) - (left < right)


class Model:
    """`hollow`: what a path through an array without objects yields, a missing value or nothing."""

    def __init__(self, *, hollow: bool) -> None:
        self._hollow = hollow

    def matches(self, wanted: dict[str, Any], doc: dict[str, Any]) -> bool:
        """Whether the filter finds the document."""
        return all(self._clause(key, operand, doc) for key, operand in wanted.items())

    def _clause(self, key: str, operand: Any, doc: dict[str, Any]) -> bool:
        if key in ("$and", "$or", "$nor"):
            assert operand, "MongoDB refuses an empty list"
            outcomes = [self.matches(part, doc) for part in operand]
            return all(outcomes) if key == "$and" else any(outcomes) == (key == "$or")
        if key == "$expr":
            return truth(evaluate(operand, doc, {}))
        assert not key.startswith("$"), key
        if not isinstance(operand, dict):
            operand = {"$eq": operand}
        ends = list(self._ends(doc, key.split(".")))
        return all(self._operator(name, argument, ends) for name, argument in operand.items())

    def _ends(self, value: Any, steps: list[str]) -> Iterator[Any]:
        """What a path leads to; arrays on the way are looked into, one level deep."""
        if not steps:
            yield value
        elif isinstance(value, dict):
            yield from self._ends(value[steps[0]], steps[1:]) if steps[0] in value else [MISSING]
        elif isinstance(value, list):
            objects = [item for item in value if isinstance(item, dict)]
            for item in objects:
                yield from self._ends(item, steps)
            if not objects and self._hollow:
                yield MISSING
        else:
            yield MISSING

    def _operator(self, name: str, argument: Any, ends: list[Any]) -> bool:
        if name == "$not":
            assert argument, "MongoDB refuses an empty $not"
            return not all(self._operator(inner, operand, ends) for inner, operand in argument.items())
        if name == "$ne":
            return not self._operator("$eq", argument, ends)
        if name == "$exists":
            return any(end is not MISSING for end in ends) == argument
        if name == "$size":
            return any(isinstance(end, list) and len(end) == argument for end in ends)
        if name == "$elemMatch":
            return any(
                all(self._operator(inner, operand, [_Single(item)]) for inner, operand in argument.items())
                for end in ends
                if isinstance(end, list)
                for item in end
            )
        return any(_single(name, argument, one) for end in ends for one in _looked_into(end))


class _Single:
    """An element under `$elemMatch`: if it is an array, it is not looked into again."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _looked_into(end: Any) -> list[Any]:
    if isinstance(end, _Single):
        return [end.value]
    return [*end, end] if isinstance(end, list) else [end]


def _single(name: str, argument: Any, value: Any) -> bool:
    if name == "$eq":
        return kind(value) == kind(argument) and compare(value, argument) == 0
    if name == "$in":
        return any(_single("$eq", item, value) for item in argument)
    if name == "$type":
        return value is not MISSING and kind(value) == argument
    if name == "$regex":
        return isinstance(value, str) and re.search(argument.replace(r"\z", r"\Z"), value) is not None
    return kind(value) == kind(argument) and _COMPARISONS[name](compare(value, argument))


def truth(value: Any) -> bool:
    """What counts as true in an expression."""
    return value is not MISSING and value is not None and value is not False and (kind(value) != "number" or value != 0)


def evaluate(expression: Any, doc: dict[str, Any], variables: dict[str, Any]) -> Any:
    """The value of an aggregation expression."""
    if isinstance(expression, str) and expression.startswith("$$"):
        return variables[expression[2:]]
    if isinstance(expression, str) and expression.startswith("$"):
        return _field(doc, expression[1:].split("."))
    if isinstance(expression, list):
        values = [evaluate(item, doc, variables) for item in expression]
        return [None if value is MISSING else value for value in values]
    if not isinstance(expression, dict):
        return expression
    ((name, argument),) = expression.items()
    return _OPERATORS[name](argument, lambda part, **more: evaluate(part, doc, {**variables, **more}))


def _field(value: Any, steps: list[str]) -> Any:
    if not steps:
        return value
    if isinstance(value, list):
        found = [_field(item, steps) for item in value if isinstance(item, dict | list)]
        return [item for item in found if item is not MISSING]
    return _field(value[steps[0]], steps[1:]) if isinstance(value, dict) and steps[0] in value else MISSING


def _switch(argument: Any, run: Any) -> Any:
    for branch in argument["branches"]:
        if truth(run(branch["case"])):
            return run(branch["then"])
    return run(argument["default"])


def _type(value: Any) -> str:
    if value is MISSING:
        return "missing"
    if kind(value) == "number":
        return "double" if isinstance(value, float) else "int" if abs(value) < 2**31 else "long"
    return kind(value)


def _only(argument: Any) -> Any:
    """The argument of an operator that takes one: a list around it is the list of arguments, never an array."""
    if not isinstance(argument, list):
        return argument
    (single,) = argument
    return single


def _listed(value: Any) -> list[Any]:
    assert isinstance(value, list), "MongoDB refuses what is no array here"
    return value


_OPERATORS: dict[str, Any] = {
    "$and": lambda parts, run: all(truth(run(part)) for part in parts),
    "$or": lambda parts, run: any(truth(run(part)) for part in parts),
    "$not": lambda part, run: not truth(run(_only(part))),
    "$cond": lambda parts, run: run(parts[1]) if truth(run(parts[0])) else run(parts[2]),
    "$ifNull": lambda parts, run: next(
        (value for value in map(run, parts[:-1]) if kind(value) != "null"), run(parts[-1])
    ),
    "$isArray": lambda part, run: isinstance(run(_only(part)), list),
    "$type": lambda part, run: _type(run(_only(part))),
    "$size": lambda part, run: len(_listed(run(_only(part)))),
    "$in": lambda parts, run: any(compare(run(parts[0]), item) == 0 for item in _listed(run(parts[1]))),
    "$eq": lambda parts, run: compare(run(parts[0]), run(parts[1])) == 0,
    "$ne": lambda parts, run: compare(run(parts[0]), run(parts[1])) != 0,
    "$map": lambda given, run: [run(given["in"], **{given["as"]: item}) for item in _listed(run(given["input"]))],
    "$anyElementTrue": lambda part, run: any(map(truth, _listed(run(_only(part))))),
    "$allElementsTrue": lambda part, run: all(map(truth, _listed(run(_only(part))))),
    "$switch": _switch,
    **{
        name: lambda parts, run, holds=holds: holds(compare(run(parts[0]), run(parts[1])))
        for name, holds in _COMPARISONS.items()
    },
}
