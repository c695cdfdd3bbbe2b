"""The statements that SQLite gets run on indexes: its own query planner says so."""

from __future__ import annotations

import apsw
import pytest

from fastcms_common.storage import And, Index, Query, Table, eq, ge, gt, has, is_null, lt, sql
from fastcms_common.storage import sql_tables as tables
from fastcms_common.storage import sqlite_schema as schema
from fastcms_common.storage.plan import ranges_after
from fastcms_common.storage.query import In
from fastcms_common.storage.rules import TableRules
from fastcms_common.storage.store import After, Sort

TABLE = Table(
    "things",
    (
        Index("email", unique=True),
        Index(["kind", ("created", -1)]),
        Index([("created", -1)]),
        Index([("data", "Größe")]),
    ),
    scalars=("price",),
)
LISTED = Table("listed", (Index("tags", many=True),))
RULES = TableRules.of(TABLE)


@pytest.fixture
def db() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    schema.ensure(connection, RULES)
    schema.ensure(connection, TableRules.of(LISTED))
    return connection


def plan(db: apsw.Connection, query: Query, sort: Sort = (), table: Table = TABLE) -> str:
    rules = TableRules.of(table)
    condition = sql.where(query, rules.scalars, tables.lists(rules.name, rules.indexes))
    statement = f"SELECT doc FROM {rules.name} WHERE {condition.text} ORDER BY {sql.order_by(sort, rules.scalars)}"
    return " / ".join(str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", condition.bound))


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (eq("id", "1"), "sqlite_autoindex_things_1 (id=?)"),
        (In("id", ["1", "2"]), "sqlite_autoindex_things_1 (id=?)"),
        (eq("email", "a"), "things.email (=email=?)"),
        (is_null("email"), "things.email (=email=?)"),
        (In("email", ["a", "b", 3]), "things.email (=email=?)"),
        (In("email", [str(number) for number in range(100)]), "things.email (=email=?)"),
        (lt("email", "b"), "things.email (=email>? AND =email<?)"),
        (ge("email", 5), "things.email (=email>? AND =email<?)"),
        (And(eq("kind", "a"), gt("created", "2026")), "things.kind_created (=kind=? AND =created>? AND =created<?)"),
        (eq(("data", "Größe"), 5), "things.data_Größe (#"),
    ],
)
def test_a_condition_on_an_indexed_path_searches_its_index(db: apsw.Connection, query: Query, index: str) -> None:
    assert f"SEARCH things USING INDEX {index}" in plan(db, query)


def test_the_order_of_an_index_needs_no_sorting(db: apsw.Connection) -> None:
    sort: Sort = (("created", -1),)
    assert plan(db, eq("kind", "a"), sort) == "SEARCH things USING INDEX things.kind_created (=kind=?)"
    assert plan(db, gt("price", 1), sort) == "SCAN things USING INDEX things.created"


def test_each_range_behind_a_position_is_a_stretch_of_the_index(db: apsw.Connection) -> None:
    sort: Sort = (("created", -1),)
    for stretch in ranges_after(sort, After(("2026",), "1"), RULES.scalars):
        assert plan(db, stretch, sort).startswith("SEARCH things USING INDEX things.created (=created")


def test_columns_of_paths_that_differ_in_case_only_are_two(db: apsw.Connection) -> None:
    schema.ensure(
        db, TableRules.of(Table("cases", scalars=("name", "Name", "NAME", ("a", "b"), ("a.b",), ('"',), ("é",))))
    )
    db.execute("INSERT INTO cases (id, doc) VALUES ('1', ?)", ('{"name":1,"Name":2,"NAME":3,"a.b":4}',))
    for path, value in ((("name",), 1), (("Name",), 2), (("NAME",), 3), (("a.b",), 4), (("a", "b"), None)):
        assert db.execute(f"SELECT {sql.column(path)} FROM cases").fetchall() == [(value,)]
        assert sql.path_of_column(sql.column(path).strip('"')) == path


@pytest.mark.parametrize(
    "query", [has("tags", "a"), In("tags", ["a", "b"]), eq("tags", "a"), And(has("tags", 1), gt("n", 1))]
)
def test_a_value_within_lists_is_looked_up(db: apsw.Connection, query: Query) -> None:
    steps = plan(db, query, table=LISTED)
    assert "SEARCH listed.tags[] USING PRIMARY KEY (value=?)" in steps
    assert "SEARCH listed USING INDEX sqlite_autoindex_listed_1 (id=?)" in steps


def test_a_large_table_gets_its_columns_without_a_copy(db: apsw.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    db.execute("INSERT INTO things (id, doc) VALUES ('1', '{\"rank\": 7}'), ('2', '{\"rank\": true}')")
    monkeypatch.setattr(schema, "COPIED_ROWS", 1)
    monkeypatch.setattr(schema, "_copy", pytest.fail)
    larger = Table("things", (*TABLE.indexes, Index("rank")), scalars=("price",))
    schema.ensure(db, TableRules.of(larger))
    assert "SEARCH things USING INDEX things.rank (=rank=?)" in plan(db, eq("rank", 7), table=larger)
    assert db.execute('SELECT id, "=rank" FROM things ORDER BY id').fetchall() == [("1", 7), ("2", b"\x01")]
