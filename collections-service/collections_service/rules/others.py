"""`@collection`: some record of another collection.

The conditions that speak of that record alone become a query on its table. What is left compares it with the record
that is judged: for one plain equality the values that may be equal are looked up, for anything else the matching
records are put into the expression one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from collections_service.models import Collection
from collections_service.rules import bound
from collections_service.rules.bound import Bound, Fixed, Operand, Some, Stored, operands
from collections_service.rules.combine import conjunction, disjunction
from collections_service.rules.request import plain
from fastcms_common.storage import ALL, NONE, Document, Field, In, Query

if TYPE_CHECKING:
    from collections_service.rules.compile import Compiler, Docs


async def some(compiler: Compiler, node: Some, docs: Docs) -> Query:
    """There is a record of the other collection for which the part holds."""
    other, related = node.collection, compiler.request.related
    pieces = node.part.parts if isinstance(node.part, bound.And) else (node.part,)
    alone = [piece for piece in pieces if _speaks_of(other, piece)]
    joined = [piece for piece in pieces if not _speaks_of(other, piece)]
    where = conjunction(
        [await compiler.askable(other, None), *[await compiler.query(_at_home(piece)) for piece in alone]]
    )
    if not joined:
        return ALL if await related.exists(other, where) else NONE
    rows = await related.rows(other, where)
    equal = _one_equality(joined)
    if equal is not None:
        own, theirs = equal
        values: dict[Any, None] = {}
        for row in rows:
            values.update(dict.fromkeys(_single(row, theirs)))
        return In(Field(own.path), list(values)) if values else NONE
    found: list[Query] = []
    for row in rows:
        found.append(
            conjunction([await compiler.query(await _put_in(compiler, piece, other, row), docs) for piece in joined])
        )
    return disjunction(found)


def _speaks_of(other: Collection, piece: Bound) -> bool:
    """Whether every field in the piece is one of the other collection's record."""
    if _has_some(piece):
        return False
    return all(
        operand.other and operand.home.id == other.id for operand in operands(piece) if isinstance(operand, Stored)
    )


def _has_some(piece: Bound) -> bool:
    match piece:
        case Some():
            return True
        case bound.Not(part):
            return _has_some(part)
        case bound.And(parts) | bound.Or(parts):
            return any(_has_some(part) for part in parts)
        case _:
            return False


def _at_home(piece: Bound) -> Bound:
    """The piece as an expression of the other collection itself."""

    def home(operand: Operand) -> Operand:
        return _moved(operand) if isinstance(operand, Stored) else operand

    return _mapped(piece, home)


def _moved(operand: Stored) -> Stored:
    return Stored(
        operand.home, operand.hops, operand.field, operand.path, operand.kind, operand.lower, operand.length, False
    )


def _mapped(piece: Bound, change: Any) -> Bound:
    match piece:
        case bound.Compare(left, op, right, any_):
            return bound.Compare(change(left), op, change(right), any_)
        case bound.Not(part):
            return bound.Not(_mapped(part, change))
        case bound.And(parts):
            return bound.And(tuple(_mapped(part, change) for part in parts))
        case bound.Or(parts):
            return bound.Or(tuple(_mapped(part, change) for part in parts))
        case Some(collection, part):
            return Some(collection, _mapped(part, change))


def _one_equality(joined: Sequence[Bound]) -> tuple[Stored, Stored] | None:
    """The own and the other field, where all that joins the two records is that these are equal."""
    if len(joined) != 1:
        return None
    match joined[0]:
        case bound.Compare(Stored() as left, "=", Stored() as right, _):
            own, theirs = (right, left) if left.other else (left, right)
            simple = not (own.hops or theirs.hops or own.many or theirs.many or own.length or theirs.length)
            if theirs.other and not own.other and simple and not (own.lower or theirs.lower):
                return own, theirs
    return None


def _single(row: Document, field: Stored) -> list[Any]:
    held: Any = row
    for step in field.path:
        held = held.get(step) if isinstance(held, dict) else None
    return [held]


async def _put_in(compiler: Compiler, piece: Bound, other: Collection, row: Document) -> Bound:
    """The piece with the values of this record of the other collection in it."""
    known: dict[int, Fixed] = {}
    for operand in operands(piece):
        if isinstance(operand, Stored) and operand.other and operand.home.id == other.id:
            values = await compiler.values(operand, row)
            value = plain(values if operand.many else values[0] if values else None)
            known[id(operand)] = Fixed(value, operand.kind)

    def change(operand: Operand) -> Operand:
        return known.get(id(operand), operand)

    return _mapped(piece, change)
