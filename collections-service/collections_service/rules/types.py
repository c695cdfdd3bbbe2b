"""Checks a parsed expression against the schemas: unknown names, hidden fields, comparisons that cannot be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from collections_service.models import Collection, FieldDefinition, RuleName
from collections_service.rules import bound, tree
from collections_service.rules.bound import Asked, Bound, Fixed, Hop, Kind, Moment, Operand, Some, Stored, operands
from collections_service.rules.errors import ExpressionError
from collections_service.values import BadValue, day, moment

MAX_HOPS = 3
# Paths to other records in one expression: each of them is looked up.
MAX_LOOKUPS = 32
# What a path may still name inside a value of type json.
MAX_INSIDE = 16

KINDS: dict[str, Kind] = {
    **dict.fromkeys(("text", "editor", "email", "url", "select", "relation"), "text"),
    "number": "number",
    "bool": "bool",
    "date": "day",
    "datetime": "time",
    "autodate": "time",
    "json": "any",
    "geopoint": "object",
}
# What is known of any caller, besides the fields of auth collections.
CALLER_KINDS: dict[str, Kind] = {
    "id": "text",
    "role": "text",
    "superadmin": "bool",
    "collection_id": "text",
    "collection": "text",
    "email": "text",
    "name": "text",
    "verified": "bool",
}
# What of that every caller's token says; the rest is in their record.
OF_ANY_CALLER = frozenset({"id", "role", "superadmin", "collection_id", "collection"})
_TEXTUAL: frozenset[Kind] = frozenset({"text", "day", "time", "any", "null"})


class Schemas(Protocol):
    """The collections that an expression may name."""

    def named(self, name: str) -> Collection | None: ...

    def with_id(self, id: str) -> Collection | None: ...

    def all(self) -> Iterable[Collection]: ...


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose expression it is. `rule` is None for a filter; hidden fields exist for rules and for admins."""

    collection: Collection
    schemas: Schemas
    rule: RuleName | None
    sees_hidden: bool = True
    # Whether `@collection` may be used: in rules, and in the filters of admins.
    other_collections: bool = True


def check(expression: tree.Expression, scope: Scope) -> Bound:
    """The bound tree. ExpressionError at the first mistake."""
    checked = _Checker(scope).quantified(expression, frozenset())
    if sum(_looks_up(operand) for operand in operands(checked)) > MAX_LOOKUPS:
        raise ExpressionError(f"At most {MAX_LOOKUPS} paths may lead to other records", 0)
    return checked


def _looks_up(operand: Operand) -> bool:
    match operand:
        case Stored():
            return bool(operand.hops or operand.other)
        case Asked():
            return operand.leads_on
    return False


class _Checker:
    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def quantified(self, node: tree.Expression, held: frozenset[str]) -> Bound:
        """The node, where `held` are the collections of which a record is already being spoken of."""
        match node:
            case tree.Or(parts):
                return bound.Or(tuple(self.quantified(part, held) for part in parts))
            case tree.Not(part):
                return bound.Not(self.quantified(part, held))
            case tree.And(parts):
                return self._group(parts, held)
            case tree.Compare():
                fresh = sorted(_collections(node) - held)
                compare: Bound = self._compare(node)
                for name in fresh:
                    compare = Some(self._named(name, node.at), compare)
                return compare

    def _group(self, parts: tuple[tree.Expression, ...], held: frozenset[str]) -> Bound:
        """An `&&` group: conditions on one collection, anywhere inside it, mean one and the same record of it."""
        fresh = sorted(set().union(*(_collections(part) for part in parts)) - held)
        if not fresh:
            return bound.And(tuple(self.quantified(part, held) for part in parts))
        name = fresh[0]
        inside = [part for part in parts if name in _collections(part)]
        outside = [part for part in parts if name not in _collections(part)]
        spoken_of = self._group(tuple(inside), held | {name})
        some = Some(self._named(name, _place(inside[0])), spoken_of)
        rest = self._group(tuple(outside), held) if outside else None
        return some if rest is None else bound.And((*(rest.parts if isinstance(rest, bound.And) else (rest,)), some))

    def _named(self, name: str, at: int) -> Collection:
        if not self._scope.other_collections:
            raise ExpressionError("'@collection' is for rules and for admins", at)
        found = self._scope.schemas.named(name)
        if found is None:
            raise ExpressionError(f"Unknown collection '{name}'", at)
        return found

    def _compare(self, node: tree.Compare) -> bound.Compare:
        left, right = self._operand(node.left), self._operand(node.right)
        _comparable(left, node.op, right, node)
        return bound.Compare(left, node.op, right, node.any)

    def _operand(self, node: tree.Operand) -> Operand:
        match node:
            case tree.Constant(value):
                return Fixed(value, _kind_of(value))
            case tree.Macro():
                return Moment(node)
            case tree.Path("record", names):
                return _modified(self._stored(self._scope.collection, names, node), node)
            case tree.Path("collection", names):
                home = self._named(names[0], node.at)
                return _modified(self._stored(home, names[1:], node, other=True), node)
            case tree.Path():
                return self._asked(node)

    def _stored(self, home: Collection, names: tuple[str, ...], node: tree.Path, *, other: bool = False) -> Stored:
        hops: list[Hop] = []
        here = home
        for index, name in enumerate(names):
            field = self._field(here, name, node)
            rest = names[index + 1 :]
            if field.type != "relation" or not rest:
                path, kind = _inside(field, rest, node)
                return Stored(home, tuple(hops), field, path, kind, other=other)
            if len(hops) == MAX_HOPS:
                raise ExpressionError(f"A path goes along at most {MAX_HOPS} relations", node.at)
            target = self._scope.schemas.with_id(field.collection or "")
            if target is None:
                raise ExpressionError(f"The relation '{name}' points to no collection", node.at)
            hops.append(Hop(field, target))
            here = target
        raise ExpressionError("A path names a field", node.at)

    def _field(self, collection: Collection, name: str, node: tree.Path) -> FieldDefinition:
        field = collection.by_name.get(name)
        # A hidden field and one that is not there get the same answer.
        if field is None or not self._sees(field):
            where = "" if collection.id == self._scope.collection.id else f" in '{collection.name}'"
            raise ExpressionError(f"Unknown field '{name}'{where}", node.at)
        return field

    def _asked(self, node: tree.Path) -> Asked:
        if node.modifier == "changed" and node.source != "data":
            raise ExpressionError("':changed' is for '@request.data'", node.at)
        if node.modifier == "isset" and node.source not in ("data", "query"):
            raise ExpressionError("':isset' is for '@request.data' and '@request.query'", node.at)
        if node.source == "method":
            return Asked("method", (), "text")
        if node.source == "query":
            if len(node.names) > 1:
                raise ExpressionError("'@request.query' has names of one word", node.at)
            return _as_modified(Asked("query", node.names, "text", node.modifier), node)
        if node.source == "auth":
            return _as_modified(self._of_caller(node), node)
        field = self._field(self._scope.collection, node.names[0], node)
        path, kind = _inside(field, node.names[1:], node)
        if node.modifier in ("isset", "changed") and len(node.names) > 1:
            raise ExpressionError(f"':{node.modifier}' is for a whole field", node.at)
        asked = Asked("data", (node.names[0], *path[1:]), kind, node.modifier, field)
        return _as_modified(asked, node)

    def _of_caller(self, node: tree.Path) -> Asked:
        """A caller may be of any auth collection: the kind is what all of them agree on."""
        name = node.names[0]
        if len(node.names) > 1 and name in CALLER_KINDS:
            raise ExpressionError(f"'@request.auth.{name}' has nothing inside", node.at)
        kinds: set[Kind] = {CALLER_KINDS[name]} if name in CALLER_KINDS else set()
        own, mistakes = [], []
        for collection in self._scope.schemas.all():
            if collection.type != "auth" or name in OF_ANY_CALLER or not self._sees(collection.by_name.get(name)):
                continue
            try:
                own.append(replace(self._stored(collection, node.names, node), length=node.modifier == "length"))
            except ExpressionError as error:
                mistakes.append(error)
        kinds.update(stored.kind for stored in own)
        if not kinds:
            unknown = f"Unknown name '@request.auth.{name}': no auth collection has such a field"
            raise mistakes[0] if mistakes else ExpressionError(unknown, node.at)
        return Asked("auth", node.names, kinds.pop() if len(kinds) == 1 else "any", node.modifier, own=tuple(own))

    def _sees(self, field: FieldDefinition | None) -> bool:
        return field is not None and (self._scope.sees_hidden or not field.hidden)


def _collections(node: tree.Expression) -> set[str]:
    match node:
        case tree.Compare(left, _, right):
            sides = (left, right)
            return {side.names[0] for side in sides if isinstance(side, tree.Path) and side.source == "collection"}
        case tree.Not(part):
            return _collections(part)
        case tree.And(parts) | tree.Or(parts):
            return set().union(*(_collections(part) for part in parts))


def _place(node: tree.Expression) -> int:
    while isinstance(node, tree.And | tree.Or):
        node = node.parts[0]
    return node.at


def _kind_of(value: object) -> Kind:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else "text"


def _inside(field: FieldDefinition, rest: tuple[str, ...], node: tree.Path) -> tuple[tuple[str, ...], Kind]:
    """The storage path and the kind of a field, or of what `rest` names within it."""
    if not rest:
        return (field.id,), KINDS[field.type]
    if field.type == "json" and len(rest) <= MAX_INSIDE:
        return (field.id, *rest), "any"
    if field.type == "geopoint" and rest in (("lat",), ("lon",)):
        return (field.id, *rest), "number"
    raise ExpressionError(f"'{field.name}' has no '{'.'.join(rest)}'", node.at)


def _modified(stored: Stored, node: tree.Path) -> Stored:
    modifier = node.modifier
    if modifier in ("isset", "changed"):
        raise ExpressionError(f"':{modifier}' is for '@request.data'", node.at)
    several = stored.field.many or stored.kind == "any"
    if modifier in ("length", "each") and not several:
        raise ExpressionError(f"':{modifier}' is for fields with many values", node.at)
    if modifier == "length":
        return Stored(stored.home, stored.hops, stored.field, stored.path, "number", length=True, other=stored.other)
    if modifier == "lower":
        if stored.kind not in ("text", "any"):
            raise ExpressionError("':lower' is for texts", node.at)
        return Stored(stored.home, stored.hops, stored.field, stored.path, stored.kind, lower=True, other=stored.other)
    return stored


def _as_modified(asked: Asked, node: tree.Path) -> Asked:
    kind: Kind = asked.kind
    if node.modifier in ("isset", "changed"):
        kind = "bool"
    elif node.modifier == "length":
        kind = "number"
    elif node.modifier == "lower" and asked.kind not in ("text", "any"):
        raise ExpressionError("':lower' is for texts", node.at)
    return replace(asked, kind=kind)


def as_time(text: str, kind: Kind) -> str | None:
    """The text as storage keeps a time of this kind, so that the order of texts is that of times; None if it is none.

    Beside a day, midnight is the bare date: `2026-11-20` sorts before `2026-11-20T00:00:00.000001Z`, as it should.
    """
    try:
        canonical = moment(day(text)) if len(text) == 10 else moment(text)
    except BadValue:
        return None
    return canonical.removesuffix("T00:00:00.000000Z") if kind == "day" else canonical


def _comparable(left: Operand, op: tree.Op, right: Operand, node: tree.Compare) -> None:
    kinds = {left.kind, right.kind}
    if isinstance(left, Stored) and isinstance(right, Stored):
        _both_stored(left, right, node)
    if op in ("~", "!~"):
        if not kinds <= _TEXTUAL:
            raise ExpressionError(f"'{op}' compares texts", node.at)
        if isinstance(right, Stored):
            raise ExpressionError(f"The right side of '{op}' is a value and not a field", node.right.at)
        return
    if _is_lower(left) or _is_lower(right):
        if op not in ("=", "!="):
            raise ExpressionError("':lower' goes with = != ~ and !~", node.at)
        if isinstance(left, Stored) and isinstance(right, Stored):
            raise ExpressionError("':lower' compares a field with a value", node.at)
    if "object" in kinds:
        if "null" not in kinds or op not in ("=", "!="):
            raise ExpressionError("A place can be compared with null only, its lat and lon with numbers", node.at)
        return
    kinds -= {"null", "any"}
    if op in ("<", "<=", ">", ">=") and "bool" in kinds:
        raise ExpressionError(f"'{op}' compares numbers, texts and times", node.at)
    if len(kinds) > 1:
        _times(left, right, kinds, node)


def _times(left: Operand, right: Operand, kinds: set[Kind], node: tree.Compare) -> None:
    """Two unlike kinds go together only where one is a time and the other can be one."""
    for operand, other, place in ((left, right, node.left.at), (right, left, node.right.at)):
        if other.kind not in ("day", "time"):
            continue
        if isinstance(operand, Fixed) and isinstance(operand.value, str):
            if as_time(operand.value, "time") is None:
                raise ExpressionError("This is not a time", place)
            return
        if isinstance(operand, Moment) or (isinstance(operand, Asked) and operand.kind in ("text", "day", "time")):
            return
    names = " and ".join(sorted(kind.replace("day", "date") for kind in kinds))
    raise ExpressionError(f"Unlike kinds are never equal: {names}", node.at)


def _both_stored(left: Stored, right: Stored, node: tree.Compare) -> None:
    if {left.kind, right.kind} in ({"day", "any"}, {"time", "any"}) and node.op not in ("~", "!~"):
        raise ExpressionError("A time cannot be compared with JSON, which has no times", node.at)
    if left.other and right.other and left.home.id != right.home.id:
        raise ExpressionError("Fields of two other collections cannot be compared with each other", node.at)
    if left.other or right.other or not (left.hops or right.hops):
        return
    if left.hops and right.hops:
        raise ExpressionError("Only one side of a comparison may go along relations", node.at)
    if any(hop.field.many for hop in (*left.hops, *right.hops)) or left.many or right.many:
        raise ExpressionError("A path along a relation is compared with a field where both have one value", node.at)


def _is_lower(operand: Operand) -> bool:
    return isinstance(operand, Stored) and operand.lower
