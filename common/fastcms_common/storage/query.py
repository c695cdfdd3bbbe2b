"""A query is a small tree. It has three interpreters, held equal by property tests: `predicate.py` (Python, the
reference), `sql.py` (SQLite) and `mongo_query.py` (MongoDB).

What a tree means (contract, section 5), always true or false, never a third thing:

- A **path** leads through objects only. A missing key, a step into something that is not an object (an array
  included) and `null` are one and the same value, `null`.
- The **values** of a field: the elements where it holds an array, else the one value. A plain operator holds when there
  is at least one value and it holds for all of them; with `any=True` (the language's `?op`) when it holds for one of
  them. Both sides may have many values: then all, or any, of the pairs. An empty array has no values: both forms false.
- `=`: null equals null; numbers compare by exact value (1 = 1.0, 2^53+1 is not 2^53); unlike types differ (true is not
  1, "1" is not 1). An object, or an array within an array, equals nothing, not even itself. `!=` is the negation of
  `=`, pair by pair.
- `<  <=  >  >=`: two numbers, two strings (by code point) or two booleans (false < true); all else false.
- `~`: both sides strings, the right one a literal. Without `%` the left contains the right; with `%` the whole left
  fits the right, `%` standing for any text, `_` for itself. Case does not count: characters are compared one by one
  under `values.fold` (Unicode simple case folding). No normalisation is done: composed and decomposed forms differ.
  `!~` is the negation of `~`, pair by pair.
- `lower` maps the characters of strings one by one to lower case; only with `= != ~ !~` against literals.
- `length` is the number of values: of an array its elements, 0 for null, 1 for anything else.
- `Not(e)` is true exactly where `e` is false.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Literal, TypeAlias

from fastcms_common.errors import Invalid
from fastcms_common.storage.values import Scalar, check_scalar

Op: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">=", "~", "!~"]
OPS: frozenset[str] = frozenset({"=", "!=", "<", "<=", ">", ">=", "~", "!~"})
# MongoDB's regular expressions have at most 32,764 bytes; a character may become a class of several.
MAX_PATTERN = 2_000
ORDERED_OPS: frozenset[str] = frozenset({"<", "<=", ">", ">="})
Path: TypeAlias = tuple[str, ...]

# The kinds of value that `OfKind` tells apart and sorting ranks, in sorting order. What has no order (objects and
# arrays) ranks with null.
Kind: TypeAlias = Literal["null", "number", "string", "bool"]
KINDS: tuple[Kind, ...] = ("null", "number", "string", "bool")


def path_of(path: str | Iterable[str]) -> Path:
    """`"a.b"` or `("a", "b")` as a tuple. Keys that hold a dot can only be named in the tuple form."""
    parts = tuple(path.split(".")) if isinstance(path, str) else tuple(path)
    if not parts or (isinstance(path, str) and "" in parts):
        raise Invalid.field("path", f"{path!r} is not a path")
    for part in parts:
        check_scalar(part, "path")
    return parts


@dataclass(frozen=True, slots=True)
class Field:
    """What a document holds at `path` (`"a.b"` or a tuple; kept as a tuple)."""

    path: Path
    lower: bool = False
    length: bool = False

    def __init__(self, path: str | Iterable[str], lower: bool = False, length: bool = False) -> None:
        object.__setattr__(self, "path", path_of(path))
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "length", length)
        if lower and length:
            raise Invalid.field("filter", "`lower` and `length` do not go together")


@dataclass(frozen=True, slots=True)
class Value:
    """A literal: null, boolean, integer (signed 64 bit), finite number, string, or a list of those (many values).

    Invalid for anything else: NaN, infinities, wider integers, NUL characters, lone surrogates, objects.
    """

    value: Scalar | tuple[Scalar, ...]

    def __init__(self, value: Scalar | Iterable[Scalar]) -> None:
        if isinstance(value, list | tuple | set | frozenset):
            object.__setattr__(self, "value", tuple(check_scalar(item, "filter") for item in value))
        else:
            object.__setattr__(self, "value", check_scalar(value, "filter"))


Operand: TypeAlias = Field | Value


@dataclass(frozen=True, slots=True)
class All:
    """Every document."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """No document."""


@dataclass(frozen=True, slots=True, init=False)
class And:
    """All of the parts; of no parts: true."""

    parts: tuple[Query, ...]

    def __init__(self, *parts: Query) -> None:
        object.__setattr__(self, "parts", parts)


@dataclass(frozen=True, slots=True, init=False)
class Or:
    """One of the parts; of no parts: false."""

    parts: tuple[Query, ...]

    def __init__(self, *parts: Query) -> None:
        object.__setattr__(self, "parts", parts)


@dataclass(frozen=True, slots=True)
class Not:
    """True exactly where the part is false."""

    part: Query


@dataclass(frozen=True, slots=True)
class Compare:
    """`left op right`; `any=True` is the language's `?op`. Invalid where an operator does not take such operands."""

    left: Operand
    op: Op
    right: Operand
    any: bool = False

    def __post_init__(self) -> None:
        if self.op not in OPS:
            raise Invalid.field("filter", f"{self.op!r} is not an operator")
        if self.op in ("~", "!~") and isinstance(self.right, Field):
            raise Invalid.field("filter", "the right side of ~ must be a literal, not a field")
        if self.op in ("~", "!~") or _is_lower(self.left) or _is_lower(self.right):
            _check_pattern(self.left)
            _check_pattern(self.right)
        if _is_lower(self.left) or _is_lower(self.right):
            if self.op in ORDERED_OPS:
                raise Invalid.field("filter", "`lower` works with = != ~ and !~ only")
            if isinstance(self.left, Field) and isinstance(self.right, Field):
                raise Invalid.field("filter", "`lower` compares a field with a literal only")


def _check_pattern(operand: Operand) -> None:
    values = operand.value if isinstance(operand, Value) else ()
    for value in values if isinstance(values, tuple) else (values,):
        if isinstance(value, str) and len(value) > MAX_PATTERN:
            raise Invalid.field("filter", f"a text that is compared without case has at most {MAX_PATTERN} characters")


def _is_lower(operand: Operand) -> bool:
    return isinstance(operand, Field) and operand.lower


@dataclass(frozen=True, slots=True, init=False)
class In:
    """One of the field's values equals one of `values`; the same as `Compare(field, "=", Value(values), any=True)`."""

    field: Field
    values: tuple[Scalar, ...]
    # For looking a value up: Python takes True for 1.
    members: frozenset[tuple[bool, Scalar]] = dataclass_field(compare=False, repr=False)

    def __init__(self, field: Field | str | Iterable[str], values: Iterable[Scalar]) -> None:
        object.__setattr__(self, "field", _field(field))
        object.__setattr__(self, "values", tuple(check_scalar(value, "filter") for value in values))
        object.__setattr__(self, "members", frozenset((isinstance(value, bool), value) for value in self.values))
        if self.field.lower:
            _check_pattern(Value(self.values))


@dataclass(frozen=True, slots=True, init=False)
class OfKind:
    """The value sorts as one of `kinds`. `"null"`: missing, null, and what has no order (arrays, objects)."""

    field: Field
    kinds: frozenset[Kind]

    def __init__(self, field: Field | str | Iterable[str], kinds: Iterable[Kind]) -> None:
        object.__setattr__(self, "field", Field(_field(field).path))
        object.__setattr__(self, "kinds", frozenset(kinds))


Query: TypeAlias = All | Nothing | And | Or | Not | Compare | In | OfKind

ALL = All()
NONE = Nothing()


def _field(field: Field | str | Iterable[str]) -> Field:
    return field if isinstance(field, Field) else Field(field)


def eq(field: Field | str | Iterable[str], value: Scalar) -> Compare:
    """`field = value`."""
    return Compare(_field(field), "=", Value(value))


def ne(field: Field | str | Iterable[str], value: Scalar) -> Compare:
    """`field != value`."""
    return Compare(_field(field), "!=", Value(value))


def lt(field: Field | str | Iterable[str], value: Scalar) -> Compare:
    """`field < value`."""
    return Compare(_field(field), "<", Value(value))


def le(field: Field | str | Iterable[str], value: Scalar) -> Compare:
    """`field <= value`."""
    return Compare(_field(field), "<=", Value(value))


def gt(field: Field | str | Iterable[str], value: Scalar) -> Compare:
    """`field > value`."""
    return Compare(_field(field), ">", Value(value))


def ge(field: Field | str | Iterable[str], value: Scalar) -> Compare:
    """`field >= value`."""
    return Compare(_field(field), ">=", Value(value))


def has(field: Field | str | Iterable[str], value: Scalar) -> Compare:
    """One of the field's values equals `value` (`field ?= value`)."""
    return Compare(_field(field), "=", Value(value), any=True)


def like(field: Field | str | Iterable[str], pattern: str) -> Compare:
    """`field ~ pattern`: contains it, or fits it where it holds a `%`; case does not count."""
    return Compare(_field(field), "~", Value(pattern))


def is_null(field: Field | str | Iterable[str]) -> Compare:
    """The field is missing or null."""
    return Compare(_field(field), "=", Value(None))
