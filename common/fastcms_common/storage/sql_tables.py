# ruff: noqa: S608 - names and paths are checked and quoted by `sql.py`.
"""The statements that make SQLite's tables and indexes.

SQLite has no index over the elements of a list. An index with `many` is a table beside: a row for each value of each
document, kept by triggers.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastcms_common.storage.plan import ID
from fastcms_common.storage.query import Path
from fastcms_common.storage.sql import column, extracted, identifier, json_path, table_name, typed, value_of
from fastcms_common.storage.store import Index


def create_table(name: str, scalars: Iterable[Path]) -> str:
    """A table; the document comes last, behind the columns that filters look at."""
    columns = "".join(f"{column(path)} AS ({extracted(path)}) STORED, " for path in sorted(scalars) if path != ID)
    return f"CREATE TABLE {table_name(name)} (id TEXT PRIMARY KEY NOT NULL, {columns}doc TEXT NOT NULL)"


def index_name(table: str, index: Index) -> str:
    """The name, unquoted, of an index within the database."""
    return f"{table}.{index.name}"


def create_index(table: str, index: Index) -> str:
    """The statement that makes an index; a non-unique one ends in `id`, so that ties need no sorting."""
    scalars = frozenset(index.paths)
    keys = [f"{value_of(path, scalars)}{' DESC' if way < 0 else ''}" for path, way in index.fields]
    if not index.unique and ID not in index.paths:
        keys.append("id DESC" if index.fields[-1][1] < 0 else "id")
    unique = "UNIQUE " if index.unique else ""
    return f"CREATE {unique}INDEX {identifier(index_name(table, index))} ON {table_name(table)} ({', '.join(keys)})"


def breaks_scalar(path: Path) -> str:
    """A condition: the document holds an array or an object at the path, or an array on the way."""
    ways = [f"json_type(doc,{json_path(path[:end])})='array'" for end in range(1, len(path) + 1)]
    return " OR ".join([*ways, f"json_type(doc,{json_path(path)})='object'"])


def breaks_required(path: Path) -> str:
    """A condition: the document holds nothing at the path."""
    return f"({extracted(path)}) IS NULL"


def add_column(table: str, path: Path) -> str:
    """A column for a scalar path, computed when it is read: the way to have one without copying the table."""
    return f"ALTER TABLE {table_name(table)} ADD COLUMN {column(path)} AS ({extracted(path)}) VIRTUAL"


def list_name(table: str, index: Index) -> str:
    """The name, unquoted, of the table that holds the values of an index with `many`."""
    return f"{index_name(table, index)}[]"


def lists(table: str, indexes: Iterable[Index]) -> dict[Path, str]:
    """The paths of the indexes with `many`, and the quoted names of the tables with their values."""
    return {index.paths[0]: identifier(list_name(table, index)) for index in indexes if index.many}


def create_list(table: str, index: Index) -> list[str]:
    """That table, filled, and its triggers. The first statement tells whether one that exists is still right."""
    name, source = identifier(list_name(table, index)), table_name(table)
    (path,) = index.paths
    changed = f"old.doc->{json_path(path)} IS NOT new.doc->{json_path(path)}"
    value = typed("e.type", "e.value")
    new, old, every = (
        f"{_elements(doc, path)} e WHERE ({value}) IS NOT NULL" for doc in ("new.doc", "old.doc", "t.doc")
    )
    add = f"INSERT OR IGNORE INTO {name} SELECT {value}, new.id FROM {new}"
    remove = f"DELETE FROM {name} WHERE id=old.id AND value IN (SELECT {value} FROM {old})"
    triggers = [
        ("insert", f"AFTER INSERT ON {source} BEGIN {add}; END"),
        ("delete", f"AFTER DELETE ON {source} BEGIN {remove}; END"),
        ("update", f"AFTER UPDATE OF doc ON {source} WHEN {changed} BEGIN {remove}; {add}; END"),
    ]
    return [
        f"CREATE TABLE {name} (value NOT NULL, id TEXT NOT NULL, PRIMARY KEY (value, id)) WITHOUT ROWID",
        f"INSERT OR IGNORE INTO {name} SELECT {value}, t.id FROM {source} t, {every}",
        *(f"CREATE TRIGGER {trigger_name(table, index, kind)} {text}" for kind, text in triggers),
    ]


def trigger_name(table: str, index: Index, kind: str) -> str:
    """The name, quoted, of a trigger that keeps the values of an index with `many`."""
    return identifier(f"{list_name(table, index)} {kind}")


def _elements(doc: str, path: Path) -> str:
    """A row for the single value, or for each element, at a path of a document; none for the members of an object."""
    at = json_path(path)
    return f"json_each(CASE json_type({doc},{at}) WHEN 'object' THEN '[]' ELSE {doc} END,{at})"
