"""Expressions and queries as JSON, with the names of the API; and which index a query is served by."""

from __future__ import annotations

from typing import Any

from collections_service.models import Collection
from collections_service.rules import tree
from fastcms_common.storage import And, Compare, Field, In, Not, OfKind, Or, Plan, Query, Value
from fastcms_common.storage.query import All, Nothing, Operand

_KEYED = frozenset({"=", "<", "<=", ">", ">="})


def parsed(node: tree.Expression) -> dict[str, Any]:
    """A parsed expression."""
    match node:
        case tree.And(parts) | tree.Or(parts):
            return {type(node).__name__.lower(): [parsed(part) for part in parts]}
        case tree.Not(part):
            return {"not": parsed(part)}
        case tree.Compare(left, op, right, some):
            return {"left": tree.to_text(left), "op": f"?{op}" if some else op, "right": tree.to_text(right)}


def described(query: Query, collection: Collection) -> Any:
    """A storage query. `true` is every record, `false` none."""
    match query:
        case All():
            return True
        case Nothing():
            return False
        case And(parts):
            return {"and": [described(part, collection) for part in parts]}
        case Or(parts):
            return {"or": [described(part, collection) for part in parts]}
        case Not(part):
            return {"not": described(part, collection)}
        case Compare(left, op, right, some):
            sides = (_side(left, collection), _side(right, collection))
            return {"left": sides[0], "op": f"?{op}" if some else op, "right": sides[1]}
        case In(field, values):
            # A relation may have singled out a great many.
            shown = list(values[:20])
            return {"left": _side(field, collection), "op": "in", "right": shown, "count": len(values)}
        case OfKind(field, kinds):
            return {"left": _side(field, collection), "op": "is", "right": sorted(kinds)}


def _side(operand: Operand, collection: Collection) -> Any:
    if isinstance(operand, Value):
        return {"value": list(operand.value) if isinstance(operand.value, tuple) else operand.value}
    names = {field.id: field.name for field in (*collection.system_fields, *collection.fields)}
    path = ".".join((names.get(operand.path[0], operand.path[0]), *operand.path[1:]))
    return {"field": path + (":lower" if operand.lower else ":length" if operand.length else "")}


def keys_of(query: Query) -> set[str]:
    """The storage keys by which an index could find the records of the query."""
    match query:
        case And(parts):
            return set().union(*(keys_of(part) for part in parts))
        case Or(parts):
            # Each alternative has to be served, so what all of them share counts.
            shared = [keys_of(part) for part in parts]
            return set.intersection(*shared) if shared else set()
        case Compare(Field() as field, op, Value(value)) if op in _KEYED and not (field.lower or field.length):
            return set() if isinstance(value, tuple) or len(field.path) > 1 else {field.path[0]}
        case In(field) if len(field.path) == 1 and not (field.lower or field.length):
            return {field.path[0]}
        case _:
            return set()


def index_of(plan: Plan, collection: Collection) -> str | None:
    """The indexes by which the database says that it finds the records, by the names of the API; None where it reads
    them all."""
    names = ", ".join(_named(index, collection) for index in plan.indexes)
    return None if plan.scans or not names else names


def index_for(query: Query, collection: Collection) -> str | None:
    """The index whose first fields the query fixes most of (`id`: the primary key): where the database does not say."""
    keys = keys_of(query)
    if "id" in keys:
        return "id"
    best, length = None, 0
    for index in collection.table.indexes:
        matched = 0
        for path in index.paths:
            if path[0] not in keys:
                break
            matched += 1
        if matched > length:
            best, length = _named(index.name, collection), matched
    return best


def _named(index: str, collection: Collection) -> str:
    kind, _, rest = index.partition("_")
    if kind == "index":
        return rest
    names = {field.id: field.name for field in collection.fields}
    return f"{kind} {names[rest]}" if rest in names else index


def unindexed(query: Query, collection: Collection) -> list[str]:
    """The fields of which an index would help."""
    leading = frozenset({"id", *(index.paths[0][0] for index in collection.table.indexes)})
    keys = _wanting(query, leading)
    return [field.name for field in (*collection.system_fields, *collection.fields) if field.id in keys]


def _wanting(query: Query, leading: frozenset[str]) -> set[str]:
    """The keys that an index has to begin with for the query to be served; none where one does."""
    match query:
        case Or(parts):
            # Each alternative has to be served.
            return set().union(*(_wanting(part, leading) for part in parts))
        case And(parts):
            return set() if keys_of(query) & leading else set().union(*(_wanting(part, leading) for part in parts))
        case _:
            keys = keys_of(query)
            return set() if keys & leading else keys
