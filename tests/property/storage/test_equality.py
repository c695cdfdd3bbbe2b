"""The interpreters say the same: what an engine finds, sorts, pages and changes is what the Python reference says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import assume, given, note
from hypothesis import strategies as st

from fastcms_common.errors import Invalid
from fastcms_common.storage import After, Change, Document, Duplicate, In, Query, Table, matches, position
from fastcms_common.storage.changes import apply
from fastcms_common.storage.predicate import holds, sort_key
from fastcms_common.storage.rules import TableRules
from tests.property.storage.engines import LISTED, LOOSE, STRICT, Engine, examples, keeping, typed
from tests.property.storage.strategies import changes, documents, queries, sorts

tables = st.sampled_from([LOOSE, LISTED, STRICT])


def by_id(doc: Document) -> str:
    return str(doc["id"])


@examples
@given(table=tables, docs=documents())
def test_a_document_comes_back_as_it_was(engine: Engine, table: Table, docs: list[Document]) -> None:
    kept = engine.fill(table, keeping(table, docs))
    assert typed(engine.run(engine.store.find(table.name))) == typed(sorted(kept, key=by_id))
    assert typed(engine.run(engine.store.get_many(table.name, [doc["id"] for doc in kept]))) == typed(kept)


@examples
@given(table=tables, docs=documents(), asked=st.lists(queries, min_size=1, max_size=4))
def test_a_query_finds_what_the_reference_finds(
    engine: Engine, table: Table, docs: list[Document], asked: list[Query]
) -> None:
    kept = sorted(engine.fill(table, keeping(table, docs)), key=by_id)
    for query in asked:
        note(repr(query))
        found = engine.run(engine.store.find(table.name, query))
        assert typed(found) == typed([doc for doc in kept if matches(query, doc)])
        assert engine.run(engine.store.count(table.name, query)) == len(found)


@examples
@given(table=tables, docs=documents(12), query=queries, sort=sorts, size=st.integers(1, 4))
def test_pages_by_offset_and_by_position_are_the_reference_cut_up(
    engine: Engine, table: Table, docs: list[Document], query: Query, sort: Any, size: int
) -> None:
    kept = engine.fill(table, keeping(table, docs))
    expected = [doc["id"] for doc in sorted(kept, key=sort_key(sort)) if matches(query, doc)]

    async def walk() -> None:
        store, name = engine.store, table.name
        assert [doc["id"] for doc in await store.find(name, query, sort=sort)] == expected
        by_position: list[str] = []
        after: After | None = None
        while page := await store.find(name, query, sort=sort, limit=size, after=after):
            by_position += [doc["id"] for doc in page]
            assert by_position == expected[: len(by_position)]
            after = position(page[-1], sort)
        assert by_position == expected
        for offset in range(0, len(expected), size):
            page = await store.find(name, query, sort=sort, limit=size, offset=offset)
            assert [doc["id"] for doc in page] == expected[offset : offset + size]

    engine.run(walk())


@examples
@given(table=tables, docs=documents(4), change=changes(), query=queries)
def test_a_change_does_what_the_reference_does(
    engine: Engine, table: Table, docs: list[Document], change: Change, query: Query
) -> None:
    assume(engine.takes_change(change))
    kept = {doc["id"]: doc for doc in engine.fill(table, keeping(table, docs))}
    rules = TableRules.of(table)
    allowed = outcome(lambda: rules.change(change))
    for id, doc in list(kept.items()):
        done = outcome(lambda id=id: engine.run(engine.store.update(table.name, id, change, query)))
        if not isinstance(allowed, Change):
            assert done is Invalid
            continue
        expected = outcome(lambda doc=doc: apply(allowed, doc)) if matches(query, doc) else None
        if isinstance(expected, dict) and collides(expected, kept.values()) and table is STRICT:
            assert done is Duplicate
        else:
            assert typed(done) == typed(expected)
        if isinstance(done, dict):
            kept[id] = done
    stored = sorted(kept.values(), key=by_id)
    assert typed(engine.run(engine.store.find(table.name))) == typed(stored)
    for path in (("a",), ("b", "c")):
        query = In(path, ["a", 1, True, None])
        assert engine.run(engine.store.find(table.name, query)) == [doc for doc in stored if matches(query, doc)]


@examples
@given(docs=documents(4), change=changes(), query=queries)
def test_a_change_of_many_is_the_change_of_each(
    engine: Engine, docs: list[Document], change: Change, query: Query
) -> None:
    assume(engine.takes_change(change))
    kept = sorted(engine.fill(LOOSE, keeping(LOOSE, docs)), key=by_id)
    chosen = [doc for doc in kept if matches(query, doc)]
    expected = [outcome(lambda doc=doc: apply(change, doc)) for doc in chosen]
    done = outcome(lambda: engine.run(engine.store.update_many(LOOSE.name, query, change)))
    if Invalid in expected:
        assert done is Invalid
        return
    assert done == len(chosen)
    changed = {doc["id"]: doc for doc in [*kept, *expected]}
    assert typed(engine.run(engine.store.find(LOOSE.name))) == typed(list(changed.values()))
    assert engine.run(engine.store.delete_many(LOOSE.name, query)) == sum(
        matches(query, doc) for doc in changed.values()
    )


def outcome(work: Callable[[], Any]) -> Any:
    """What comes out, or the type of the error."""
    try:
        return work()
    except (Invalid, Duplicate) as error:
        return type(error)


def collides(doc: Document, others: Any) -> bool:
    """Whether another document has the same value at the path of STRICT's unique index."""
    value = doc.get("$set")
    return value is not None and any(
        other["id"] != doc["id"] and holds("=", value, other.get("$set")) for other in others
    )
