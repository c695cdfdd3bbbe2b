"""A bound expression to a storage query.

A query knows one table. What an expression says about other tables is looked up first: a path along a relation becomes
the ids of the records that satisfy what stands behind it, an `@collection` the values of its matching records
(`others`).
Where the records that are to be judged are known (`docs`), only what they point to is looked at.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from collections_service.models import EMAIL, EMAIL_VISIBILITY, ID, Collection
from collections_service.rules import bound
from collections_service.rules.bound import Asked, Bound, Fixed, Hop, Kind, Moment, Some, Stored
from collections_service.rules.combine import conjunction, disjunction, negation
from collections_service.rules.others import some
from collections_service.rules.request import ANONYMOUS, UNEQUAL, Request, Resolved, many, modified, plain
from collections_service.rules.tree import Op
from collections_service.rules.types import as_time
from fastcms_common.storage import (
    ALL,
    NONE,
    And,
    Compare,
    Document,
    Field,
    In,
    Or,
    Query,
    Value,
    eq,
    gt,
    is_null,
    matches,
)

Docs: TypeAlias = Sequence[Document] | None
Leaf: TypeAlias = Callable[[Stored, Docs], Awaitable[Query]]

_FLIPPED: dict[Op, Op] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!="}


class Compiler:
    """Compiles for one request. `looked_up` tells whether the last query rests on what was read from other records."""

    def __init__(self, request: Request, *, masked: bool = False) -> None:
        """`masked`: the expression is a caller's, who may ask only about what they may see."""
        self.request = request
        self.masked = masked
        self.looked_up = False

    async def query(self, node: Bound, docs: Docs = None) -> Query:
        """The query that holds for a record where the expression does; with `docs`, for these records alone."""
        match node:
            case bound.And(parts):
                return conjunction([await self.query(part, docs) for part in parts])
            case bound.Or(parts):
                return disjunction([await self.query(part, docs) for part in parts])
            case bound.Not(part):
                return negation(await self.query(part, docs))
            case Some():
                self.looked_up = True
                return await some(self, node, docs)
            case bound.Compare(left, op, right, any_):
                if isinstance(left, Stored):
                    if isinstance(right, Stored):
                        return await self._two_fields(left, op, right, any_, docs)
                    return await self._field(left, op, await self.resolve(right), any_, docs)
                if isinstance(right, Stored):
                    return await self._field(right, _FLIPPED[op], await self.resolve(left), any_, docs)
                return _constant(await self.resolve(left), op, await self.resolve(right), any_)

    async def resolve(self, operand: Fixed | Moment | Asked) -> Resolved:
        """What an operand is worth in this request."""
        if not isinstance(operand, Asked) or not operand.own:
            return self.request.value(operand)
        own = await self.request.own_record()
        path = next((path for path in operand.own if own is not None and path.home.id == own[0].id), None)
        if own is None or path is None:
            return self.request.value(operand)
        self.looked_up = self.looked_up or operand.leads_on
        values = await self.values(path, own[1])
        value = plain(values if path.many and len(values) != 1 else values[0] if values else None)
        return value if path.length else modified(value, operand.modifier)

    async def _field(self, field: Stored, op: Op, value: Resolved, any_: bool, docs: Docs) -> Query:
        value = _in_time(field.kind, op, value)
        if not field.hops:
            return self._compare(field, op, value, any_)
        self.looked_up = True
        of_null = _constant(0 if field.length else None, op, value, any_) is ALL

        async def holds(at: Stored, docs: Docs) -> Query:
            return self._compare(at, op, value, any_)

        if any_ or not field.many:
            return await self._along(field, holds, of_null, docs)
        there = await self._along(field, _has_value, True, docs)

        async def violates(at: Stored, docs: Docs) -> Query:
            return conjunction([await _has_value(at, docs), negation(await holds(at, docs))])

        return conjunction([there, negation(await self._along(field, violates, not of_null, docs))])

    async def _along(self, field: Stored, leaf: Leaf, of_null: bool, docs: Docs) -> Query:
        """Some record at the end of the path satisfies `leaf`; a relation that is null is judged by `of_null`."""
        if not field.hops:
            return await leaf(field, docs)
        hop, behind = field.hops[0], field.behind()

        async def condition(docs: Docs) -> Query:
            return await self._along(behind, leaf, of_null, docs)

        ids = await self._satisfying(hop, condition, docs)
        found: Query = In((hop.field.id,), ids) if ids else NONE
        return disjunction([found, is_null((hop.field.id,))]) if of_null else found

    async def _satisfying(self, hop: Hop, condition: Callable[[Docs], Awaitable[Query]], docs: Docs) -> list[str]:
        """Ids of the records of the hop's target that satisfy the condition and that the caller may ask about."""
        if docs is None:
            where = conjunction([await self.askable(hop.target, None), await condition(None)])
            return await self.request.related.ids(hop.target, where)
        ids = list(dict.fromkeys(id for doc in docs for id in many(doc.get(hop.field.id)) if isinstance(id, str)))
        targets = [doc for doc in await self.request.related.get_many(hop.target, ids) if doc is not None]
        where = conjunction([await self.askable(hop.target, targets), await condition(targets)])
        return [target[ID] for target in targets if matches(where, target)]

    async def askable(self, target: Collection, docs: Docs) -> Query:
        """Which records of another collection the caller may learn something about: those they may view."""
        return await self.request.related.visible(target, self.request, docs) if self.masked else ALL

    async def _two_fields(self, left: Stored, op: Op, right: Stored, any_: bool, docs: Docs) -> Query:
        if not left.hops and not right.hops:
            null = Value(None)
            of_null = Compare(
                null if left.field is EMAIL else _column(left),
                op,
                null if right.field is EMAIL else _column(right),
                any_,
            )
            comparison = Compare(_column(left), op, _column(right), any_)
            return self._mask(left if left.field is EMAIL else right, comparison, of_null)
        if right.hops:
            left, op, right = right, _FLIPPED[op], left
        # For each record that the relation may point to: if it is this one, compare with its value.
        self.looked_up = True
        hop, behind = left.hops[0], left.behind()
        of_null = Compare(Value(0 if left.length else None), op, _column(right), any_)
        parts: list[Query] = [conjunction([is_null((hop.field.id,)), of_null])]
        for target in await self._targets(hop, docs):
            values = await self.values(behind, target)
            if not values:
                # The path leads to a record that is not there for this caller.
                continue
            compared = await self._field(right, _FLIPPED[op], plain(values[0]), any_, docs)
            parts.append(conjunction([eq((hop.field.id,), target[ID]), compared]))
        return disjunction(parts)

    async def _targets(self, hop: Hop, docs: Docs) -> list[Document]:
        related = self.request.related
        if docs is None:
            return await related.rows(hop.target, await self.askable(hop.target, None))
        ids = list(dict.fromkeys(id for doc in docs for id in many(doc.get(hop.field.id)) if isinstance(id, str)))
        return await self._shown_records(hop.target, ids)

    async def _shown_records(self, target: Collection, ids: Sequence[str]) -> list[Document]:
        """Those of the records that are there and that the caller may learn something about."""
        found = [doc for doc in await self.request.related.get_many(target, ids) if doc is not None]
        askable = await self.askable(target, found)
        return [doc for doc in found if matches(askable, doc)]

    async def values(self, field: Stored, doc: Document) -> list[object]:
        """The values that the path has, seen from this record; none where it leads to none that may be asked about."""
        docs: list[Document | None] = [doc]
        for hop in field.hops:
            ids = [id for one in docs if one is not None for id in many(one.get(hop.field.id))]
            known = [id for id in ids if isinstance(id, str)]
            docs = [*await self._shown_records(hop.target, known), *[None] * (len(ids) - len(known))]
        values: list[object] = []
        for one in docs:
            held: object = one if one is None or matches(self._shown(field), one) else None
            for step in field.path:
                held = held.get(step) if isinstance(held, dict) else None
            if field.length:
                values.append(0 if held is None else len(many(held)))
            else:
                values.extend(many(held))
        return values

    def _compare(self, field: Stored, op: Op, value: Resolved, any_: bool) -> Query:
        """A field of the record itself with a value."""
        if value is ANONYMOUS:
            return self._mask(field, _with_anonymous(field, op, any_), _constant(None, op, value, any_))
        if value is UNEQUAL:
            return ALL if op in ("!=", "!~") else NONE
        comparison = Compare(_column(field), op, Value(value), any_)
        return self._mask(field, comparison, _constant(None, op, value, any_))

    def _shown(self, field: Stored) -> Query:
        """The records of which the caller may know this field."""
        if not self.masked or field.field is not EMAIL:
            return ALL
        shown: list[Query] = [eq((EMAIL_VISIBILITY.id,), True)]
        caller = self.request.caller
        if caller is not None and caller.realm == field.owner.id:
            shown.append(eq((ID,), caller.id))
        return disjunction(shown)

    def _mask(self, field: Stored, comparison: Query, of_null: Query) -> Query:
        """An e-mail address that its owner does not show is null to others."""
        visible = self._shown(field)
        return disjunction([conjunction([visible, comparison]), conjunction([negation(visible), of_null])])


def _in_time(kind: Kind, op: Op, value: Resolved) -> Resolved:
    """A value that stands beside a time field, as storage keeps times; a text that is no time equals none."""
    if kind not in ("day", "time") or op in ("~", "!~") or not isinstance(value, str | list):
        return value
    texts = [as_time(item, kind) if isinstance(item, str) else item for item in many(value)]
    if None in texts:
        return UNEQUAL
    return texts if isinstance(value, list) else texts[0]


async def _has_value(at: Stored, docs: Docs) -> Query:
    """Null is a value; only an empty list has none."""
    if at.length or not (at.field.many or at.kind == "any"):
        return ALL
    return Or(gt(Field(at.path, length=True), 0), is_null(at.path))


def _column(field: Stored) -> Field:
    return Field(field.path, lower=field.lower, length=field.length)


def _constant(left: Resolved, op: Op, right: Resolved, any_: bool) -> Query:
    """A comparison of two known values, or lists of them."""
    if UNEQUAL in (left, right):
        return ALL if op in ("!=", "!~") else NONE
    if ANONYMOUS not in (left, right):
        return ALL if matches(Compare(Value(left), op, Value(right), any_), {}) else NONE
    other = right if left is ANONYMOUS else left
    pairs = [_beside_anonymous(op, value) for value in many(other)]
    return ALL if (any(pairs) if any_ else bool(pairs) and all(pairs)) else NONE


def _beside_anonymous(op: Op, value: Resolved) -> bool:
    equal = value is ANONYMOUS or value is None or value == ""
    return {"=": equal, "!=": not equal, "!~": True}.get(op, False)


def _with_anonymous(field: Stored, op: Op, any_: bool) -> Query:
    """A field beside `@request.auth.x` where nobody is signed in: equal to null and to the empty text alone."""
    column = _column(field)
    if op == "=":
        return Or(*(Compare(column, "=", Value(nothing), any_) for nothing in (None, "")))
    if op == "!=":
        return And(*(Compare(column, "!=", Value(nothing), any_) for nothing in (None, "")))
    return Compare(column, op, Value(None), any_)
