"""The tree of an expression after it was checked against the schemas: every name is a field, every literal has a kind.

Nothing here is text of the caller's any more but literals, which reach the database as parameters only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from collections_service.models import Collection, FieldDefinition
from collections_service.rules.tree import Macro, Op

# `any` is known at run time only. `day` and `time` are text in storage.
Kind: TypeAlias = Literal["null", "text", "number", "bool", "day", "time", "object", "any"]


@dataclass(frozen=True, slots=True)
class Hop:
    """A step along a relation, to a record of `target`."""

    field: FieldDefinition
    target: Collection


@dataclass(frozen=True, slots=True)
class Stored:
    """A value of a stored record: that of the expression's own collection, or with `other` of an `@collection`.

    `path` is that of storage, in the collection to which the hops lead.
    """

    home: Collection
    hops: tuple[Hop, ...]
    field: FieldDefinition
    path: tuple[str, ...]
    kind: Kind
    lower: bool = False
    length: bool = False
    other: bool = False

    @property
    def many(self) -> bool:
        """Whether it may have more or fewer values than one."""
        several = self.field.many or self.field.type == "json"
        return any(hop.field.many for hop in self.hops) or (several and not self.length)

    @property
    def owner(self) -> Collection:
        """The collection whose field it is."""
        return self.hops[-1].target if self.hops else self.home

    def behind(self) -> Stored:
        """The same value as seen from the record behind the first hop."""
        return Stored(
            self.hops[0].target, self.hops[1:], self.field, self.path, self.kind, self.lower, self.length, self.other
        )


@dataclass(frozen=True, slots=True)
class Fixed:
    """A literal, or what was looked up for one: then it may also be a list."""

    value: Any
    kind: Kind


@dataclass(frozen=True, slots=True)
class Moment:
    """A macro, a time once now is known."""

    macro: Macro
    kind: Kind = "time"


@dataclass(frozen=True, slots=True)
class Asked:
    """A value of the request. `field` is the one that `@request.data.x` is about; `own` are the paths that lead to
    `@request.auth.x` from the caller's own record, one for each auth collection that has such a path."""

    source: Literal["auth", "data", "query", "method"]
    names: tuple[str, ...]
    kind: Kind
    modifier: str | None = None
    field: FieldDefinition | None = None
    own: tuple[Stored, ...] = ()

    @property
    def leads_on(self) -> bool:
        """Whether it goes along relations."""
        return any(stored.hops for stored in self.own)


Operand: TypeAlias = Stored | Fixed | Moment | Asked


@dataclass(frozen=True, slots=True)
class Compare:
    """`left op right`; `any` for the `?` form."""

    left: Operand
    op: Op
    right: Operand
    any: bool


@dataclass(frozen=True, slots=True)
class Not:
    """True where the part is false."""

    part: Bound


@dataclass(frozen=True, slots=True)
class And:
    """All of the parts."""

    parts: tuple[Bound, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of the parts."""

    parts: tuple[Bound, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """There is a record of `collection` for which the part holds: what its `@collection` operands mean."""

    collection: Collection
    part: Bound


Bound: TypeAlias = Compare | Not | And | Or | Some


def operands(node: Bound) -> list[Operand]:
    """Every operand in the tree."""
    match node:
        case Compare(left, _, right):
            return [left, right]
        case Not(part) | Some(_, part):
            return operands(part)
        case And(parts) | Or(parts):
            return [operand for part in parts for operand in operands(part)]
