# ruff: noqa: S608 - names are checked and quoted by `sql.py`, values are bound.
"""What the SQLite engine does within one connection: each function is one job of a reading or of the writing thread."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import apsw
import orjson

from fastcms_common.errors import Invalid
from fastcms_common.storage import changes, sql
from fastcms_common.storage import sql_tables as tables
from fastcms_common.storage.plan import ID, ranges_after
from fastcms_common.storage.query import ALL, Compare, Field, Query, Value
from fastcms_common.storage.rules import TableRules
from fastcms_common.storage.store import After, Change, Duplicate, Plan, Sort, both, by_id
from fastcms_common.storage.values import check_size


def nothing(db: apsw.Connection) -> None:
    """Proves that the database answers."""
    db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()


def texts(db: apsw.Connection, table: str, ids: Sequence[str]) -> list[str | None]:
    """The documents' JSON in the order of the ids."""
    query = f"SELECT doc FROM {sql.table_name(table)} WHERE id=?"
    rows = (_rows(db, query, (id,)) for id in ids)
    return [row[0][0] if row else None for row in rows]


@dataclass(frozen=True, slots=True)
class Search:
    """A `Store.find`; `run` gives the documents' JSON."""

    rules: TableRules
    where: Query
    sort: Sort
    limit: int | None
    offset: int
    after: After | None

    def run(self, db: apsw.Connection) -> list[str]:
        """All ranges, one after the other, until there is enough."""
        if self.after is None:
            return self._part(db, self.where, self.limit, self.offset)
        if self.offset:
            raise Invalid.field("offset", "does not go together with a keyset position")
        found: list[str] = []
        with db:
            for stretch in ranges_after(self.sort, self.after, self.rules.scalars):
                left = None if self.limit is None else self.limit - len(found)
                if left == 0:
                    break
                found += self._part(db, both(stretch, self.where), left, 0)
        return found

    def _part(self, db: apsw.Connection, where: Query, limit: int | None, offset: int) -> list[str]:
        condition = _where(self.rules, where)
        table, order = sql.table_name(self.rules.name), sql.order_by(self.sort, self.rules.scalars)
        if limit is None and not offset:
            query = f"SELECT doc FROM {table} WHERE {condition.text} ORDER BY {order}"
            return [row[0] for row in _rows(db, query, condition.bound)]
        # First only the row numbers, so that what is sorted is small and the documents passed over are never read.
        rows = f"SELECT rowid AS r FROM {table} WHERE {condition.text} ORDER BY {order} LIMIT ? OFFSET ?"
        query = f"SELECT doc FROM ({rows}) x CROSS JOIN {table} t ON t.rowid=x.r ORDER BY {order}"
        bound = (*condition.bound, -1 if limit is None else limit, offset)
        return [row[0] for row in _rows(db, query, bound)]


def count(db: apsw.Connection, rules: TableRules, where: Query, limit: int | None) -> int:
    """See `Store.count`."""
    condition = _where(rules, where)
    rows = f"FROM {sql.table_name(rules.name)} WHERE {condition.text}"
    if limit is None:
        return int(_rows(db, f"SELECT count(*) {rows}", condition.bound)[0][0])
    query = f"SELECT count(*) FROM (SELECT 1 {rows} LIMIT ?)"
    return int(_rows(db, query, (*condition.bound, limit))[0][0])


def explain(db: apsw.Connection, rules: TableRules, where: Query) -> Plan:
    """See `Store.explain`. SQLite says `SEARCH posts USING INDEX posts.author (…)`, or `SCAN posts`."""
    condition = _where(rules, where)
    query = f"EXPLAIN QUERY PLAN SELECT doc FROM {sql.table_name(rules.name)} WHERE {condition.text}"
    lines = [str(row[3]) for row in _rows(db, query, condition.bound)]
    indexes = []
    for line in lines:
        search = re.match(r"SEARCH (\S+) USING (?:COVERING )?(?:INDEX (\S+)|PRIMARY KEY)", line)
        if search is None:
            continue
        table, index = search.groups()
        if index is None or table == rules.name:
            name = (index or table).removeprefix(f"{rules.name}.").removesuffix("[]")
            indexes.append("id" if name.startswith("sqlite_autoindex_") else name)
    # The values of a list have a table of their own, which leads to the ids.
    named = [name for name in dict.fromkeys(indexes) if name != "id" or len(set(indexes)) == 1]
    scans = any(line.split(" USING ")[0] == f"SCAN {rules.name}" for line in lines)
    return Plan(tuple(named), scans, tuple(lines))


def insert(db: apsw.Connection, rules: TableRules, id: str, text: str) -> None:
    """A new row; Duplicate."""
    try:
        db.execute(f"INSERT INTO {sql.table_name(rules.name)} (id, doc) VALUES (?,?)", (id, text))
    except apsw.ConstraintError as error:
        _raise_duplicate(db, rules, error)


def insert_each(db: apsw.Connection, rules: TableRules, rows: Sequence[tuple[str, str]]) -> list[Duplicate | None]:
    """Each row by itself: a statement that breaks a constraint undoes itself alone."""
    outcomes: list[Duplicate | None] = []
    for row in rows:
        try:
            insert(db, rules, *row)
            outcomes.append(None)
        except Duplicate as duplicate:
            outcomes.append(duplicate)
    return outcomes


def update(
    db: apsw.Connection,
    rules: TableRules,
    id: str,
    change: Change,
    where: Query,
) -> tuple[str, str] | None:
    """The document's JSON before and after, or None."""
    before = _matching(db, rules, id, where)
    if before is None:
        return None
    return before, _write_changed(db, rules, id, before, change)


def update_some(
    db: apsw.Connection, rules: TableRules, where: Query, change: Change, last: str, limit: int
) -> list[str]:
    """Changes at most `limit` matching documents behind the id `last`; their ids."""
    condition = _where(rules, both(Compare(Field(ID), ">", Value(last)), where))
    query = f"SELECT id, doc FROM {sql.table_name(rules.name)} WHERE {condition.text} ORDER BY id LIMIT ?"
    rows = _rows(db, query, (*condition.bound, limit))
    for id, text in rows:
        _write_changed(db, rules, id, text, change)
    return [id for id, _ in rows]


def replace(db: apsw.Connection, rules: TableRules, id: str, text: str, where: Query) -> str | None:
    """The JSON of the document before, or None."""
    before = _matching(db, rules, id, where)
    if before is not None:
        _write(db, rules, id, text)
    return before


def upsert(db: apsw.Connection, rules: TableRules, id: str, text: str) -> bool:
    """Whether it was inserted."""
    if _matching(db, rules, id, ALL) is None:
        insert(db, rules, id, text)
        return True
    _write(db, rules, id, text)
    return False


def delete(db: apsw.Connection, rules: TableRules, id: str, where: Query) -> str | None:
    """The JSON of the document before, or None."""
    before = _matching(db, rules, id, where)
    if before is not None:
        db.execute(f"DELETE FROM {sql.table_name(rules.name)} WHERE id=?", (id,))
    return before


def delete_some(db: apsw.Connection, rules: TableRules, where: Query, limit: int) -> int:
    """Deletes at most `limit` matching documents; how many."""
    condition, table = _where(rules, where), sql.table_name(rules.name)
    rows = f"SELECT rowid FROM {table} WHERE {condition.text} LIMIT ?"
    db.execute(f"DELETE FROM {table} WHERE rowid IN ({rows})", (*condition.bound, limit))
    return int(db.changes())


def _where(rules: TableRules, query: Query) -> sql.Sql:
    return sql.where(query, rules.scalars, tables.lists(rules.name, rules.indexes))


def _rows(db: apsw.Connection, query: str, bound: Sequence[sql.Bound]) -> list[Any]:
    return db.execute(query, bound).fetchall()


def _matching(db: apsw.Connection, rules: TableRules, id: str, where: Query) -> str | None:
    condition = _where(rules, both(by_id(id), where))
    rows = _rows(db, f"SELECT doc FROM {sql.table_name(rules.name)} WHERE {condition.text}", condition.bound)
    return rows[0][0] if rows else None


def _write_changed(db: apsw.Connection, rules: TableRules, id: str, text: str, change: Change) -> str:
    changed = orjson.dumps(changes.apply(change, orjson.loads(text)))
    check_size(len(changed))
    _write(db, rules, id, changed.decode())
    return changed.decode()


def _write(db: apsw.Connection, rules: TableRules, id: str, text: str) -> None:
    try:
        db.execute(f"UPDATE {sql.table_name(rules.name)} SET doc=? WHERE id=?", (text, id))
    except apsw.ConstraintError as error:
        _raise_duplicate(db, rules, error)


def _raise_duplicate(db: apsw.Connection, rules: TableRules, error: apsw.ConstraintError) -> NoReturn:
    """SQLite names the columns: `UNIQUE constraint failed: users.=email`. The index may be one that was pruned by this
    process's definition and not yet by anyone from the database."""
    message = str(error)
    if message.endswith(f": {rules.name}.id"):
        raise Duplicate("id", ["id"]) from error
    query = "SELECT name FROM pragma_index_list(?) WHERE \"unique\" AND origin='c'"
    for (name,) in _rows(db, query, (rules.name,)):
        columns = [row[0] for row in _rows(db, "SELECT name FROM pragma_index_info(?) ORDER BY seqno", (name,))]
        if message.endswith(": " + ", ".join(f"{rules.name}.{column}" for column in columns)):
            index = str(name).removeprefix(f"{rules.name}.")
            raise Duplicate(index, [".".join(sql.path_of_column(column)) for column in columns]) from error
    raise error
