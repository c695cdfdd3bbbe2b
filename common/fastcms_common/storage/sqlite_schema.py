# ruff: noqa: S608 - names are checked and quoted by `sql.py`.
"""Tables and indexes of a SQLite database, made to fit their definitions. Runs in the writer's transaction."""

from __future__ import annotations

import json
import re

import apsw

from fastcms_common.errors import Conflict, NotFound
from fastcms_common.storage import sql
from fastcms_common.storage import sql_tables as tables
from fastcms_common.storage.plan import ID
from fastcms_common.storage.query import Path
from fastcms_common.storage.rules import TableRules
from fastcms_common.storage.store import NAME_PATTERN, Duplicate, Index

# A table of more rows is not copied for the sake of a new scalar path: its column is computed when it is read.
COPIED_ROWS = 20_000


def names(db: apsw.Connection) -> list[str]:
    """All tables, sorted."""
    rows = db.execute("SELECT name FROM sqlite_master WHERE type='table'")
    return sorted(str(row[0]) for row in rows if re.fullmatch(NAME_PATTERN, str(row[0])))


def exists(db: apsw.Connection, table: str) -> bool:
    """Whether there is such a table."""
    return bool(db.execute("SELECT 1 FROM sqlite_master WHERE type='table' AND name=?", (table,)).fetchall())


def ensure(db: apsw.Connection, rules: TableRules) -> None:
    """See `Store.ensure`."""
    db.execute("CREATE TABLE IF NOT EXISTS _tables (name TEXT PRIMARY KEY NOT NULL, promises TEXT NOT NULL)")
    if not exists(db, rules.name):
        db.execute(tables.create_table(rules.name, rules.scalars))
    else:
        _check_promises(db, rules)
        _ensure_columns(db, rules)
    _remember(db, rules)
    present = _indexes(db, rules.name)
    for index in rules.indexes:
        name, made = tables.index_name(rules.name, index), tables.list_name(rules.name, index)
        wanted = _statements(rules.name, index)
        if present.get(made if index.many else name) != wanted[-1]:
            _drop_index(db, rules.name, name)
            _drop_index(db, rules.name, made)
            _create(db, index, wanted)


def prune(db: apsw.Connection, rules: TableRules) -> list[str]:
    """See `Store.prune`."""
    wanted = {(tables.list_name if index.many else tables.index_name)(rules.name, index) for index in rules.indexes}
    dropped = sorted(_indexes(db, rules.name).keys() - wanted)
    for name in dropped:
        _drop_index(db, rules.name, name)
    return [name.removeprefix(f"{rules.name}.").removesuffix("[]") for name in dropped]


def drop(db: apsw.Connection, table: str) -> None:
    """See `Store.drop`."""
    for name in _indexes(db, table):
        _drop_index(db, table, name)
    db.execute(f"DROP TABLE IF EXISTS {sql.table_name(table)}")
    if exists(db, "_tables"):
        db.execute("DELETE FROM _tables WHERE name=?", (table,))


def rename(db: apsw.Connection, old: str, rules: TableRules) -> None:
    """See `Store.rename`; `rules` are those of the new name. Indexes carry the table's name, so they are built anew."""
    if not exists(db, old):
        raise NotFound(f"There is no table {old}.")
    if exists(db, rules.name):
        raise Conflict(f"There is a table {rules.name} already.")
    for name in _indexes(db, old):
        _drop_index(db, old, name)
    db.execute(f"ALTER TABLE {sql.table_name(old)} RENAME TO {sql.table_name(rules.name)}")
    for index in rules.indexes:
        _create(db, index, _statements(rules.name, index))
    db.execute("DELETE FROM _tables WHERE name=?", (old,))
    _remember(db, rules)


def _statements(table: str, index: Index) -> list[str]:
    return tables.create_list(table, index) if index.many else [tables.create_index(table, index)]


def _indexes(db: apsw.Connection, table: str) -> dict[str, str]:
    """The indexes of a table: name, and the last of the statements that made it."""
    plain = "SELECT name, sql FROM sqlite_master WHERE type='index' AND tbl_name=? AND sql NOT NULL"
    found = {str(name): str(statement) for name, statement in db.execute(plain, (table,))}
    lists = "SELECT name, sql FROM sqlite_master WHERE type='trigger' AND tbl_name=? AND name LIKE '%[] update'"
    return found | {str(name).removesuffix(" update"): str(made) for name, made in db.execute(lists, (table,))}


def _drop_index(db: apsw.Connection, table: str, name: str) -> None:
    if not name.endswith("[]"):
        db.execute(f"DROP INDEX IF EXISTS {sql.identifier(name)}")
        return
    for kind in ("insert", "delete", "update"):
        db.execute(f"DROP TRIGGER IF EXISTS {sql.identifier(f'{name} {kind}')}")
    db.execute(f"DROP TABLE IF EXISTS {sql.identifier(name)}")


def _create(db: apsw.Connection, index: Index, statements: list[str]) -> None:
    try:
        for statement in statements:
            db.execute(statement)
    except apsw.ConstraintError as error:
        raise Duplicate(index.name, [".".join(path) for path in index.paths]) from error


def _check_promises(db: apsw.Connection, rules: TableRules) -> None:
    """Stored documents must keep what the definition promises, where that promise is new."""
    known = {
        path
        for (text,) in db.execute("SELECT promises FROM _tables WHERE name=?", (rules.name,))
        for path in _read(text)
    }
    table = sql.table_name(rules.name)
    for kind, paths, breaks, what in (
        ("scalar", rules.scalars, tables.breaks_scalar, "a list or an object"),
        ("required", rules.required, tables.breaks_required, "nothing"),
    ):
        for path in sorted(paths - {ID}):
            if (kind, *path) in known:
                continue
            if db.execute(f"SELECT 1 FROM {table} WHERE {breaks(path)} LIMIT 1").fetchall():
                raise Conflict(f"Documents hold {what} at {'.'.join(path)}.", metadata={"path": ".".join(path)})


def _remember(db: apsw.Connection, rules: TableRules) -> None:
    kept = [("scalar", *path) for path in rules.scalars] + [("required", *path) for path in rules.required]
    db.execute("INSERT OR REPLACE INTO _tables VALUES (?,?)", (rules.name, json.dumps(sorted(kept))))


def _read(promises: object) -> list[tuple[str, ...]]:
    return [tuple(promise) for promise in json.loads(str(promises))]


def _ensure_columns(db: apsw.Connection, rules: TableRules) -> None:
    """A scalar path that is new needs a column, in front of the document if it can be: the table is copied for it."""
    rows = db.execute("SELECT name FROM pragma_table_xinfo(?) WHERE name NOT IN ('id', 'doc')", (rules.name,))
    present = {sql.path_of_column(str(row[0])) for row in rows}
    missing = sorted(rules.scalars - present - {ID})
    if not missing:
        return
    many = f"SELECT 1 FROM {sql.table_name(rules.name)} LIMIT {COPIED_ROWS + 1}"
    if len(db.execute(many).fetchall()) > COPIED_ROWS:
        for path in missing:
            db.execute(tables.add_column(rules.name, path))
    else:
        _copy(db, rules.name, rules.scalars | present)


def _copy(db: apsw.Connection, name: str, scalars: frozenset[Path]) -> None:
    """Puts a table with all these columns in the place of the present one, with the same indexes and triggers."""
    table = sql.table_name(name)
    query = (
        "SELECT type, name, sql FROM sqlite_master WHERE tbl_name=? AND type IN ('index','trigger') AND sql NOT NULL"
    )
    attached = db.execute(query, (name,)).fetchall()
    for kind, attachment, _ in attached:
        db.execute(f"DROP {kind} {sql.identifier(str(attachment))}")
    db.execute(f"ALTER TABLE {table} RENAME TO _old")
    db.execute(tables.create_table(name, scalars))
    db.execute(f"INSERT INTO {table} (id, doc) SELECT id, doc FROM _old ORDER BY rowid")
    db.execute("DROP TABLE _old")
    for _, _, statement in attached:
        db.execute(str(statement))
