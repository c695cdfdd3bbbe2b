# ruff: noqa: S608 - names and paths are checked and quoted here, values are bound: see the docstring.
"""The query tree as SQLite SQL.

Everything rests on the *value* of a path: NULL for what has no order (null, missing, arrays, objects), numbers and
strings as they are, booleans as blobs x'00' and x'01'. SQLite orders NULL < numbers < strings < blobs, which is the
order that the interface promises, so comparing and sorting run on one index over that value, and a range never reaches
into another kind. At scalar paths the value is a stored generated column in front of the document, so that a filter
without an index need not read JSON; elsewhere it is an expression. Values enter as bound parameters only; names and
paths are quoted here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import orjson

from fastcms_common.errors import Invalid
from fastcms_common.storage.plan import ID, full_sort, simplify
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
from fastcms_common.storage.store import NAME_PATTERN, Sort
from fastcms_common.storage.values import Scalar

Bound: TypeAlias = str | int | float | bytes | None
# Beyond this many values an `In` is passed as one JSON array, so that the number of statements stays small.
MANY_VALUES = 8


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL and the parameters of its question marks."""

    text: str
    bound: tuple[Bound, ...] = ()


TRUE, FALSE = Sql("1"), Sql("0")


def table_name(name: str) -> str:
    """A table's name, quoted. Invalid unless it matches `NAME_PATTERN`."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise Invalid.field("table", f"{name!r} is not a table name")
    return f'"{name}"'


def identifier(name: str) -> str:
    """An SQL identifier, quoted."""
    return '"' + name.replace('"', '""') + '"'


def quoted(text: str) -> str:
    """An SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def json_path(path: Path) -> str:
    """A path as an SQL literal in SQLite's JSON path language; every step is a quoted label, never an array index."""
    return quoted("$" + "".join("." + json.dumps(step, ensure_ascii=False) for step in path))


def column(path: Path) -> str:
    """The name, quoted, of the column that holds the value of a scalar path. SQLite's names know no case: paths that do
    are spelt in hexadecimal."""
    plain = all(re.fullmatch("[a-z][a-z0-9_]*", step) for step in path)
    name = "=" + ".".join(path) if plain else "#" + json.dumps(path, ensure_ascii=False).encode().hex()
    return f'"{name}"'


def path_of_column(name: str) -> Path:
    """The path that a column (its name without quotes) holds the value of."""
    if name.startswith("#"):
        return tuple(json.loads(bytes.fromhex(name[1:])))
    return tuple(name.removeprefix("=").split("."))


def value_of(path: Path, scalars: frozenset[Path]) -> str:
    """The value of a path (see above)."""
    if path == ID:
        return "id"
    return column(path) if path in scalars else extracted(path)


def extracted(path: Path) -> str:
    """The value of a path, taken from the document."""
    at = json_path(path)
    return typed(f"json_type(doc,{at})", f"doc->>{at}")


def typed(kind: str, value: str) -> str:
    """The value of something of which SQLite's JSON functions say this type and this value."""
    return (
        f"CASE {kind} WHEN 'true' THEN x'01' WHEN 'false' THEN x'00' "
        f"WHEN 'array' THEN NULL WHEN 'object' THEN NULL ELSE {value} END"
    )


def order_by(sort: Sort, scalars: frozenset[Path]) -> str:
    """The ORDER BY terms of a sort."""
    return ", ".join(f"{value_of(path, scalars)}{' DESC' if way < 0 else ''}" for path, way in full_sort(sort))


def where(query: Query, scalars: frozenset[Path], lists: Mapping[Path, str] = MappingProxyType({})) -> Sql:
    """A condition for a WHERE clause: TRUE exactly for the documents that the query selects.

    `lists` are paths whose values stand in a table of their own (`sql_tables.py`), and that table's quoted name.
    """
    return _Compiler(scalars, lists).compile(simplify(query))


def bound(value: Scalar) -> Bound:
    """A scalar as the parameter that compares equal to its value expression."""
    return bytes([value]) if isinstance(value, bool) else value


@dataclass(frozen=True, slots=True)
class _Term:
    """A single value in SQL: its typed value, when it is null (and not merely without order), and whether it is the
    column `id`, whose text affinity would turn a number beside it into text."""

    value: str
    is_null: str
    is_id: bool = False


class _Compiler:
    """Pieces are TRUE, FALSE or NULL, and NULL counts as false; only `_not` turns a piece round, and it knows that."""

    def __init__(self, scalars: frozenset[Path], lists: Mapping[Path, str]) -> None:
        self._scalars = scalars
        self._lists = lists

    def compile(self, query: Query) -> Sql:
        match query:
            case All():
                return TRUE
            case Nothing():
                return FALSE
            case And(parts):
                return _join(" AND ", map(self.compile, parts))
            case Or(parts):
                return _join(" OR ", map(self.compile, parts))
            case Not(part):
                return _not(self.compile(part))
            case OfKind(field, kinds):
                return _join(" OR ", (_of_kind(value_of(field.path, self._scalars), kind) for kind in sorted(kinds)))
            case In(field, values):
                return self._in(field, values)
            case Compare(Field() as left, op, Field() as right, some):
                return self._fields(left, op, right, some)
            case Compare(Field() as left, op, Value(value), some) if not isinstance(value, tuple):
                return self._literal(left, op, value, some)
        raise AssertionError(f"simplify leaves no {query}")

    def _literal(self, field: Field, op: Op, value: Scalar, some: bool) -> Sql:
        if some and op == "=" and not field.length:
            return self._in(field, (value,))
        if some:
            return self._some_or_single(field, lambda term: _pair(op, term, value))
        found = self._all_or_single(field, lambda term: _pair(op, term, value))
        if op == "=" and value is not None and self._is_listed(field):
            # If all values are this one, one of them is.
            return _join(" AND ", [self._listed(field, (value,)), found])
        return found

    def _in(self, field: Field, values: Sequence[Scalar]) -> Sql:
        if not self._is_listed(field):
            return self._some_or_single(field, lambda term: _member(term, values))
        ways = [self._listed(field, [value for value in values if value is not None])]
        if None in values:
            ways.append(self._some_or_single(field, lambda term: _pair("=", term, None)))
        return _join(" OR ", ways)

    def _is_listed(self, field: Field) -> bool:
        return field.path in self._lists and not field.lower and not field.length

    def _listed(self, field: Field, values: Sequence[Scalar]) -> Sql:
        """The documents that have one of the values, which are not null, by the table of the path's values."""
        table = self._lists[field.path]
        member = _member(_Term(f"{table}.value", "0"), values)
        return Sql(f"id IN (SELECT {table}.id FROM {table} WHERE {member.text})", member.bound)

    def _some_or_single(self, field: Field, condition: Callable[[_Term], Sql]) -> Sql:
        if self._is_single(field):
            return condition(self._single(field))
        at = json_path(field.path)
        each = condition(_element("e", lower=field.lower))
        many = Sql(f"EXISTS(SELECT 1 FROM json_each(doc,{at}) e WHERE {each.text})", each.bound)
        return _if_array(at, many, condition(self._single(field)))

    def _all_or_single(self, field: Field, condition: Callable[[_Term], Sql]) -> Sql:
        if self._is_single(field):
            return condition(self._single(field))
        at = json_path(field.path)
        each = _not(condition(_element("e", lower=field.lower)))
        exception = f"EXISTS(SELECT 1 FROM json_each(doc,{at}) e WHERE {each.text})"
        many = Sql(f"(json_array_length(doc,{at})>0 AND NOT {exception})", each.bound)
        return _if_array(at, many, condition(self._single(field)))

    def _fields(self, left: Field, op: Op, right: Field, some: bool) -> Sql:
        if self._is_single(left) and self._is_single(right):
            return Sql(_pair_of_terms(op, self._single(left), self._single(right)))
        pairs = f"SELECT 1 FROM json_each({_as_array(left)}) a, json_each({_as_array(right)}) b"
        holds = _pair_of_terms(op, _element("a"), _element("b"))
        if some:
            return Sql(f"EXISTS({pairs} WHERE {holds})")
        return Sql(f"(EXISTS({pairs}) AND NOT EXISTS({pairs} WHERE ({holds}) IS NOT TRUE))")

    def _is_single(self, field: Field) -> bool:
        return field.length or field.path in self._scalars

    def _single(self, field: Field) -> _Term:
        if field.length:
            return _Term(_length(field.path), "0")
        value = value_of(field.path, self._scalars)
        if field.path in self._scalars:
            null = f"{value} IS NULL"
        else:
            null = f"coalesce(json_type(doc,{json_path(field.path)}),'null')='null'"
        if field.lower:
            return _Term(f"fc_lower({value})", null)
        return _Term(value, null, is_id=field.path == ID)


def _element(alias: str, *, lower: bool = False) -> _Term:
    value = typed(f"{alias}.type", f"{alias}.value")
    return _Term(f"fc_lower({value})" if lower else value, f"{alias}.type='null'")


def _length(path: Path) -> str:
    if path == ID:
        return "1"
    at = json_path(path)
    kind = f"json_type(doc,{at})"
    return f"CASE {kind} WHEN 'array' THEN json_array_length(doc,{at}) WHEN 'null' THEN 0 ELSE {kind} IS NOT NULL END"


def _as_array(field: Field) -> str:
    if field.length:
        return f"'['||({_length(field.path)})||']'"
    at = json_path(field.path)
    return f"CASE json_type(doc,{at}) WHEN 'array' THEN doc->{at} ELSE '['||coalesce(doc->{at},'null')||']' END"


def _if_array(at: str, many: Sql, single: Sql) -> Sql:
    text = f"CASE json_type(doc,{at}) WHEN 'array' THEN {many.text} ELSE {single.text} END"
    return Sql(text, many.bound + single.bound)


def _pair(op: Op, term: _Term, value: Scalar) -> Sql:
    """`term op value`, for a single literal."""
    if op == "!=":
        return _not(_pair("=", term, value))
    if op == "!~":
        return _not(_pair("~", term, value))
    if value is None:
        return Sql(term.is_null) if op == "=" else FALSE
    if term.is_id and not isinstance(value, str):
        return FALSE
    if op == "=":
        return Sql(f"{term.value}=?", (bound(value),))
    if op == "~":
        return Sql(f"fc_like({term.value},?)", (value,)) if isinstance(value, str) else FALSE
    return _ordered(op, term.value, value)


def _ordered(op: Op, expression: str, value: Scalar) -> Sql:
    """A range within the literal's own kind: its far end is where the next kind begins."""
    own = Sql(f"{expression}{op}?", (bound(value),))
    upwards = op in (">", ">=")
    if isinstance(value, bool):
        return own if upwards else Sql(f"({expression}>=x'' AND {own.text})", own.bound)
    if isinstance(value, str):
        edge = f"{expression}<x''" if upwards else f"{expression}>=''"
        return Sql(f"({edge} AND {own.text})", own.bound)
    return Sql(f"({own.text} AND {expression}<'')", own.bound) if upwards else own


def _pair_of_terms(op: Op, left: _Term, right: _Term) -> str:
    """`left op right`, for two single values from the document."""
    if op == "!=":
        return f"({_pair_of_terms('=', left, right)}) IS NOT TRUE"
    a, b = (f"+{term.value}" if term.is_id else term.value for term in (left, right))
    if op == "=":
        return f"({a}={b} OR ({left.is_null} AND {right.is_null}))"
    texts, blobs = (f"(typeof({a})='{kind}')=(typeof({b})='{kind}')" for kind in ("text", "blob"))
    return f"({a}{op}{b} AND {texts} AND {blobs})"


def _of_kind(value: str, kind: Kind) -> Sql:
    if value == "id":
        return TRUE if kind == "string" else FALSE
    if kind == "null":
        return Sql(f"{value} IS NULL")
    if kind == "number":
        return Sql(f"{value}<''")
    return Sql(f"({value}>='' AND {value}<x'')") if kind == "string" else Sql(f"{value}>=x''")


def _member(term: _Term, values: Sequence[Scalar]) -> Sql:
    """The value is one of `values`."""
    ways: list[Sql] = [Sql(term.is_null)] if None in values else []
    bools = [value for value in values if isinstance(value, bool) and not term.is_id]
    plain = [value for value in values if isinstance(value, str) or not (isinstance(value, bool) or term.is_id)]
    plain = [value for value in plain if value is not None]
    if len(plain) > MANY_VALUES:
        ways.append(Sql(f"{term.value} IN (SELECT v.value FROM json_each(?) v)", (orjson.dumps(plain).decode(),)))
        plain = []
    listed = tuple(map(bound, (*plain, *bools)))
    if listed:
        ways.append(Sql(f"{term.value} IN ({','.join('?' * len(listed))})", listed))
    return _join(" OR ", ways) if ways else FALSE


def _join(word: str, parts: Iterable[Sql]) -> Sql:
    pieces = list(parts)
    text = word.join(piece.text for piece in pieces)
    return Sql(f"({text})" if len(pieces) > 1 else text, tuple(value for piece in pieces for value in piece.bound))


def _not(piece: Sql) -> Sql:
    return Sql(f"(({piece.text}) IS NOT TRUE)", piece.bound)
