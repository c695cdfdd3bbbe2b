"""The meaning of expressions, said a second time, as plainly as can be: on the parsed tree, over documents in memory.

Written from the contract's table of meanings and not from the compiler, which it is there to check.
"""

from __future__ import annotations

import re
from typing import Any

from collections_service.models import Collection
from collections_service.rules import tree
from fastcms_common.context import Caller
from fastcms_common.storage.values import fold, lower
from tests.property.collections.world import World

ANYBODY = object()


class Reference:
    """Evaluates expressions about posts for one caller."""

    def __init__(self, world: World, home: Collection, caller: Caller | None, data: dict[str, Any]) -> None:
        self.world = world
        self.home = home
        self.caller = caller
        # Incoming values by name.
        self.data = data

    def holds(self, node: tree.Expression, doc: Any, rows: dict[str, Any] | None = None) -> bool:
        """Whether the expression holds for the document; `rows` are the records that `@collection` words mean."""
        rows = rows or {}
        match node:
            case tree.Not(part):
                return not self.holds(part, doc, rows)
            case tree.Or(parts):
                return any(self.holds(part, doc, rows) for part in parts)
            case tree.And(parts):
                fresh = sorted(set().union(*map(names_in, parts)) - rows.keys())
                if not fresh:
                    return all(self.holds(part, doc, rows) for part in parts)
                about = tuple(part for part in parts if fresh[0] in names_in(part))
                others = tuple(part for part in parts if fresh[0] not in names_in(part))
                some = any(
                    all(self.holds(part, doc, bound) for part in (tree.And(about),))
                    for row in self._rows(fresh[0])
                    for bound in [{**rows, fresh[0]: row}]
                )
                return some and (not others or self.holds(tree.And(others), doc, rows))
            case tree.Compare(left, op, right, some):
                fresh = sorted(names_in(node) - rows.keys())
                if fresh:
                    return any(self.holds(node, doc, {**rows, fresh[0]: row}) for row in self._rows(fresh[0]))
                return self._compare(left, op, right, some, doc, rows)

    def _rows(self, name: str) -> list[Any]:
        collection = self.world.snapshot.named(name)
        assert collection is not None
        return self.world.docs[collection.id]

    def _compare(self, left: Any, op: str, right: Any, some: bool, doc: Any, rows: dict[str, Any]) -> bool:
        sides = [self._values(side, doc, rows) for side in (left, right)]
        kinds = [self._kind(side) for side in (left, right)]
        for one, other in ((0, 1), (1, 0)):
            if kinds[one] in ("date", "datetime") and op not in ("~", "!~"):
                sides[other] = [midnight(value) for value in sides[other]]
                sides[one] = [midnight(value) for value in sides[one]]
        pairs = [single(op, a, b) for a in sides[0] for b in sides[1]]
        return any(pairs) if some else bool(pairs) and all(pairs)

    def _kind(self, side: Any) -> str | None:
        if not isinstance(side, tree.Path) or side.source not in ("record", "collection"):
            return None
        names = side.names
        here = self.home
        if side.source == "collection":
            here, names = self.world.snapshot.named(names[0]), names[1:]  # type: ignore[assignment]
        for name in names:
            field = here.by_name[name]
            if field.type != "relation":
                return field.type
            here = self.world.snapshot.with_id(field.collection or "")  # type: ignore[assignment]
        return "relation"

    def _values(self, side: Any, doc: Any, rows: dict[str, Any]) -> list[Any]:
        if isinstance(side, tree.Constant):
            return [side.value]
        assert isinstance(side, tree.Path)
        if side.source == "auth":
            return self._of_caller(side)
        if side.source == "record":
            found = self._walk(self.home, doc, side.names)
        elif side.source == "collection":
            collection = self.world.snapshot.named(side.names[0])
            assert collection is not None
            found = self._walk(collection, rows[side.names[0]], side.names[1:])
        elif side.source == "data":
            held: Any = self.data
            for step in side.names:
                held = held.get(step) if isinstance(held, dict) else None
            found = [held]
        else:
            found = ["a"] if side.source == "query" and side.names == ("q",) else [None]
        if side.modifier == "isset":
            return [side.names[0] in self.data]
        if side.modifier == "length":
            return [0 if value is None else len(value) if isinstance(value, list) else 1 for value in found]
        values = [item for value in found for item in (value if isinstance(value, list) else [value])]
        return [lower(value) if side.modifier == "lower" and isinstance(value, str) else value for value in values]

    def _of_caller(self, side: tree.Path) -> list[Any]:
        if self.caller is None:
            return [0] if side.modifier == "length" else [ANYBODY]
        if side.names[0] in ("id", "role"):
            return [getattr(self.caller, side.names[0])]
        members = self.world.snapshot.named("members")
        assert members is not None
        mine = next((doc for doc in self.world.docs[members.id] if doc["id"] == self.caller.id), {})
        found = self._walk(members, mine, side.names)
        if side.modifier == "length":
            return [0 if held is None else len(held) if isinstance(held, list) else 1 for held in found]
        return [value for held in found for value in (held if isinstance(held, list) else [held])]

    def _walk(self, collection: Collection, doc: Any, names: tuple[str, ...]) -> list[Any]:
        """What the path holds, once for each record that it leads to."""
        field, rest = collection.by_name[names[0]], names[1:]
        held = doc.get(field.id) if doc else None
        if field.type == "relation" and rest:
            target = self.world.snapshot.with_id(field.collection or "")
            assert target is not None
            if held is None:
                return self._walk(target, None, rest)
            ids = held if isinstance(held, list) else [held]
            found = [other for id in ids for other in self.world.docs[target.id] if other["id"] == id]
            return [value for other in found for value in self._walk(target, other, rest)]
        for step in rest:
            held = held.get(step) if isinstance(held, dict) else None
        return [held]


def names_in(node: tree.Expression) -> set[str]:
    """The collections of which the expression says `@collection`."""
    match node:
        case tree.Compare(left, _, right):
            return {one.names[0] for one in (left, right) if isinstance(one, tree.Path) and one.source == "collection"}
        case tree.Not(part):
            return names_in(part)
        case tree.And(parts) | tree.Or(parts):
            return set().union(*map(names_in, parts))


def midnight(value: Any) -> Any:
    """A day as the time at which it begins; a text that is no time is of another kind, and so equal to no time."""
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return f"{value}T00:00:00.000000Z"
    return value if re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", value) else {}


def single(op: str, a: Any, b: Any) -> bool:
    """The contract's table for two single values."""
    if op in ("!=", "!~"):
        return not single(op[1], a, b)
    if ANYBODY in (a, b):
        other = b if a is ANYBODY else a
        return op == "=" and (other is ANYBODY or other is None or other == "")
    if isinstance(a, dict | list) or isinstance(b, dict | list):
        return False
    if a is None or b is None:
        return op == "=" and a is b
    kinds = {bool: "bool", int: "number", float: "number", str: "text"}
    if kinds[type(a)] != kinds[type(b)]:
        return False
    if op == "~":
        return isinstance(a, str) and like(fold(a), fold(b))
    return bool({"=": a == b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op])


def like(text: str, pattern: str) -> bool:
    """`%` stands for any text; without one the pattern is contained. By trying, on all places."""
    if "%" not in pattern:
        return pattern in text
    head, rest = pattern.split("%", 1)
    if not text.startswith(head):
        return False
    text = text[len(head) :]
    if "%" not in rest:
        return text.endswith(rest)
    return any(like(text[at:], rest) for at in range(len(text) + 1))
