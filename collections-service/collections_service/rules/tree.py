"""The tree of an expression, and its canonical text. Places do not count when trees are compared."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Op: TypeAlias = Literal["=", "!=", ">", ">=", "<", "<=", "~", "!~"]
Modifier: TypeAlias = Literal["lower", "length", "isset", "changed", "each"]
Source: TypeAlias = Literal["record", "auth", "data", "query", "method", "collection"]

OPS: tuple[Op, ...] = ("=", "!=", ">", ">=", "<", "<=", "~", "!~")
MODIFIERS: tuple[Modifier, ...] = ("lower", "length", "isset", "changed", "each")
# Units that a macro may step by; `@now` and the starts of today, the month and the year stand alone.
STEPS: tuple[str, ...] = ("second", "minute", "hour", "day", "week", "month", "year")
MOMENTS: tuple[str, ...] = ("now", "today", "weekStart", "monthStart", "yearStart")


@dataclass(frozen=True, slots=True)
class Constant:
    """A value written in the expression."""

    value: str | int | float | bool | None
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Path:
    """A value to be looked up. `names` are the steps behind the source: for `collection` the first is the collection's
    name, for `method` there are none."""

    source: Source
    names: tuple[str, ...]
    modifier: Modifier | None = None
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Macro:
    """A moment in relation to now: a name of MOMENTS with amount 0, or one of STEPS with how many of them to go."""

    name: str
    amount: int = 0
    at: int = field(default=0, compare=False)


Operand: TypeAlias = Constant | Path | Macro


@dataclass(frozen=True, slots=True)
class Compare:
    """`left op right`; `any` for the `?` form of the operator."""

    left: Operand
    op: Op
    right: Operand
    any: bool = False
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """True where the part is false."""

    part: Expression
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class And:
    """Two or more parts, none of them an And."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Two or more parts, none of them an Or."""

    parts: tuple[Expression, ...]


Expression: TypeAlias = Compare | Not | And | Or


def to_text(node: Expression | Operand) -> str:
    """The canonical text; parsing it gives the same tree."""
    match node:
        case Or(parts):
            return " || ".join(to_text(part) for part in parts)
        case And(parts):
            return " && ".join(f"({to_text(part)})" if isinstance(part, Or) else to_text(part) for part in parts)
        case Not(part):
            return f"!({to_text(part)})"
        case Compare(left, op, right, some):
            return f"{to_text(left)} {'?' if some else ''}{op} {to_text(right)}"
        case Constant(value):
            return _literal(value)
        case Macro(name, amount):
            return f"@{name}" if name in MOMENTS else f"@{name}{amount:+d}"
        case Path():
            return _path(node)


def _literal(value: str | int | float | bool | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def _path(path: Path) -> str:
    head = {
        "record": (),
        "auth": ("@request", "auth"),
        "data": ("@request", "data"),
        "query": ("@request", "query"),
        "method": ("@request", "method"),
        "collection": ("@collection",),
    }[path.source]
    return ".".join((*head, *path.names)) + (f":{path.modifier}" if path.modifier else "")
