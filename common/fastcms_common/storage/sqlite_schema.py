# ruff: noqa: S608 - names are checked and quoted by `sql.py`.
"""Tables and indexes of a SQLite database, made to fit their definitions. Runs in the writer's transaction."""

from __future__ import annotations

import apsw

from fastcms_common.errors import Conflict, NotFound
from fastcms_common.storage import sql
from fastcms_common.storage.plan import ID
from fastcms_common.storage.query import Path
from fastcms_common.storage.rules import TableRules
from fastcms_common.storage.store import Duplicate, Index


def names(db: apsw.Connection) -> list[str]:
    """All tables, sorted."""
    rows = db.execute("SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    return sorted(str(row[0]) for row in rows)


def exists(db: apsw.Connection, table: str) -> bool:
    """Whether there is such a table."""
    return bool(db.execute("SELECT 1 FROM sqlite_master WHERE type='table' AND name=?", (table,)).fetchall())


def ensure(db: apsw.Connection, rules: TableRules) -> None:
    """See `Store.ensure`."""
    if not exists(db, rules.name):
        db.execute(sql.create_table(rules.name, rules.scalars))
    else:
        _ensure_columns(db, rules)
        _check_required(db, rules)
    present = _indexes(db, rules.name)
    for index in rules.indexes:
        if index.many:
            continue
        statement = sql.create_index(rules.name, index)
        name = sql.index_name(rules.name, index)
        if present.get(name) != statement:
            db.execute(f"DROP INDEX IF EXISTS {sql.identifier(name)}")
            _create(db, rules.name, index, statement)


def prune(db: apsw.Connection, rules: TableRules) -> list[str]:
    """See `Store.prune`."""
    wanted = {sql.index_name(rules.name, index) for index in rules.indexes if not index.many}
    dropped = [name for name in _indexes(db, rules.name) if name not in wanted]
    for name in dropped:
        db.execute(f"DROP INDEX {sql.identifier(name)}")
    return sorted(name.removeprefix(f"{rules.name}.") for name in dropped)


def drop(db: apsw.Connection, table: str) -> None:
    """See `Store.drop`."""
    db.execute(f"DROP TABLE IF EXISTS {sql.table_name(table)}")


def rename(db: apsw.Connection, old: str, rules: TableRules) -> None:
    """See `Store.rename`; `rules` are those of the new name. Indexes carry the table's name, so they are built anew."""
    if not exists(db, old):
        raise NotFound(f"There is no table {old}.")
    if exists(db, rules.name):
        raise Conflict(f"There is a table {rules.name} already.")
    for name in _indexes(db, old):
        db.execute(f"DROP INDEX {sql.identifier(name)}")
    db.execute(f"ALTER TABLE {sql.table_name(old)} RENAME TO {sql.table_name(rules.name)}")
    for index in rules.indexes:
        if not index.many:
            db.execute(sql.create_index(rules.name, index))


def _indexes(db: apsw.Connection, table: str) -> dict[str, str]:
    rows = db.execute(
        "SELECT name, sql FROM sqlite_master WHERE type='index' AND tbl_name=? AND sql NOT NULL", (table,)
    )
    return {str(name): str(statement) for name, statement in rows}


def _create(db: apsw.Connection, table: str, index: Index, statement: str) -> None:
    try:
        db.execute(statement)
    except apsw.ConstraintError as error:
        raise Duplicate(index.name, [".".join(path) for path in index.paths]) from error


def _ensure_columns(db: apsw.Connection, rules: TableRules) -> None:
    """A scalar path that is new needs a column in front of the document: the table is copied into one that has it."""
    present = {str(row[1]) for row in db.execute("SELECT * FROM pragma_table_xinfo(?)", (rules.name,))}
    wanted = {path: sql.column(path)[1:-1] for path in rules.scalars if path != ID}
    missing = [path for path, name in wanted.items() if name not in present]
    if not missing:
        return
    table = sql.table_name(rules.name)
    for path in sorted(missing):
        _check_scalar(db, table, path)
    indexes = _indexes(db, rules.name)
    for name in indexes:
        db.execute(f"DROP INDEX {sql.identifier(name)}")
    db.execute(f"ALTER TABLE {table} RENAME TO _old")
    db.execute(sql.create_table(rules.name, rules.scalars))
    db.execute(f"INSERT INTO {table} (id, doc) SELECT id, doc FROM _old ORDER BY rowid")
    db.execute("DROP TABLE _old")
    for statement in indexes.values():
        if statement in {sql.create_index(rules.name, index) for index in rules.indexes if not index.many}:
            db.execute(statement)


def _check_scalar(db: apsw.Connection, table: str, path: Path) -> None:
    if db.execute(f"SELECT 1 FROM {table} WHERE {sql.breaks_scalar(path)} LIMIT 1").fetchall():
        raise Conflict(f"Documents hold a list or an object at {'.'.join(path)}.", metadata={"path": ".".join(path)})


def _check_required(db: apsw.Connection, rules: TableRules) -> None:
    for path in sorted(rules.required):
        value = sql.value_of(path, rules.scalars)
        query = f"SELECT 1 FROM {sql.table_name(rules.name)} WHERE {value} IS NULL LIMIT 1"
        if db.execute(query).fetchall():
            raise Conflict(f"Documents hold nothing at {'.'.join(path)}.", metadata={"path": ".".join(path)})
