"""Every comparison on every shape of document, one by one: where random trees are vague, these are exhaustive."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from fastcms_common.storage import Document, Query, matches
from fastcms_common.storage.mongo_codec import encode
from fastcms_common.storage.mongo_query import filter_of
from fastcms_common.storage.predicate import kind_of
from fastcms_common.storage.query import KINDS, OPS, ORDERED_OPS, Compare, Field, In, Not, OfKind, Value
from fastcms_common.storage.rules import TableRules
from tests.property.storage.engines import LISTED, LOOSE, STRICT, Engine, keeping
from tests.property.storage.mongo_model import Model

SINGLE: list[Any] = [None, True, False, 0, 1, 1.0, 2, "", "a", "A", "ab", "b", {}, {"c": "a"}]
MANY: list[Any] = [
    [], [None], [None, None], [None, "a"], [1], [1.0, 1], [1, 2], [1, "a"], [True], [0, False], ["a"], ["a", "A"],
    ["a", "b"], ["ab", "a"], [{}], ["a", {}], [[]], [["a"]], ["a", ["a"]], [[1], 1], [{"c": "a"}],
]  # fmt: skip
# What may stand where `b.c` looks for an object.
BLOCKS: list[Any] = [
    None,
    1,
    "a",
    [],
    ["a"],
    [None],
    [{}],
    [{"c": None}],
    [{"c": "a"}],
    [{"c": "a"}, {"c": "b"}],
    [{"c": ["a"]}],
]
LITERALS: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    1.5,
    2,
    "",
    "a",
    "A",
    "b",
    "%",
    "a%",
    "%b",
    ["a", "b"],
    ["a", None],
    [1, "a"],
]
FIELDS = [Field("a"), Field("b.c")]


def bodies(shapes: list[Any]) -> Iterator[Document]:
    yield {}
    for shape in shapes:
        yield {"a": shape}
        yield {"b": {"c": shape}}


def numbered(docs: Iterator[Document]) -> list[Document]:
    return [{"id": f"{number:04}", **doc} for number, doc in enumerate(docs)]


def blocked() -> Iterator[Document]:
    for block in BLOCKS:
        yield {"b": block}


def pairs() -> Iterator[Document]:
    shapes = [None, True, 1, 1.0, "a", "b", {}, [], ["a", "b"], [1, 2], [None], [["a"]]]
    for left, right in product(shapes, shapes):
        yield {"a": left, "b": {"c": right}}
    yield {"a": "0000"}
    yield {"a": 1, "b": [{"c": 1}]}


def leaves() -> Iterator[Query]:
    """Every comparison of a field with a literal, and its negation."""
    for field, op, literal, some in product(FIELDS, sorted(OPS), LITERALS, (False, True)):
        yield Compare(field, op, Value(literal), some)  # type: ignore[arg-type]
        if op not in ORDERED_OPS:
            yield Compare(Field(field.path, lower=True), op, Value(literal), some)  # type: ignore[arg-type]
        else:
            yield Compare(Value(literal), op, field, some)  # type: ignore[arg-type]
        if kind_of(literal) == "number":
            yield Compare(Field(field.path, length=True), op, Value(literal), some)  # type: ignore[arg-type]
    for field, values in product(
        FIELDS, ([], [None], ["a", 1], ["a", None, True], list(range(10)), [*"abcdefghijk", None])
    ):
        yield In(field, values)
        yield In(Field(field.path, lower=True), values)
    for field, first, second in product(FIELDS, KINDS, KINDS):
        yield OfKind(field, {first, second})


def field_pairs() -> Iterator[Query]:
    """Every comparison of two fields."""
    fields = [*FIELDS, Field("id"), Field("a", length=True), Field("b.c", length=True)]
    for left, op, right, some in product(fields, ["=", "!=", "<", "<=", ">", ">="], fields, (False, True)):
        yield Compare(left, op, right, some)  # type: ignore[arg-type]


CASES = {
    "single values": (lambda: bodies(SINGLE), leaves),
    "many values": (lambda: bodies(MANY), leaves),
    "blocked paths": (blocked, leaves),
    "two fields": (pairs, field_pairs),
}


@pytest.mark.parametrize("table", [LOOSE, LISTED, STRICT], ids=lambda table: table.name)
@pytest.mark.parametrize("case", CASES)
def test_an_engine_says_what_the_reference_says(engine: Engine, case: str, table: Any) -> None:
    if table is LISTED and engine.is_mongodb:
        pytest.skip("to MongoDB an index over lists makes no difference to the query")
    shapes, asked = CASES[case]
    kept = engine.fill(table, engine.keepable(table, numbered(shapes())))
    answered = 0
    for leaf in asked():
        for query in (leaf,) if engine.is_stand_in else (leaf, Not(leaf)):
            found = engine.ask(lambda query=query: engine.store.find(table.name, query))
            if found is not None:
                answered += 1
                assert [doc["id"] for doc in found] == [doc["id"] for doc in kept if matches(query, doc)], query
    assert answered or engine.is_stand_in


@pytest.mark.parametrize("case", CASES)
def test_mongodb_would_say_what_the_reference_says(case: str) -> None:
    shapes, asked = CASES[case]
    docs = numbered(shapes())
    models = [Model(hollow=hollow) for hollow in ((True, False) if case == "blocked paths" else (True,))]
    for table in (LOOSE,) if case == "two fields" else (LOOSE, STRICT):
        scalars, kept = TableRules.of(table).scalars, keeping(table, docs)
        for leaf in asked():
            wanted = filter_of(leaf, scalars)
            for doc, model in product(kept, models):
                assert model.matches(wanted, encode(doc)) == matches(leaf, doc), (leaf, wanted, doc)
