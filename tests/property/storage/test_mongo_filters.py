"""What is compiled for MongoDB, held against a model of how MongoDB reads it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from fastcms_common.storage import Document, Query, Table, matches
from fastcms_common.storage.mongo_codec import decode, encode, escaped, mongo_path, unescaped
from fastcms_common.storage.mongo_expressions import sort_key as sort_expression
from fastcms_common.storage.mongo_query import filter_of
from fastcms_common.storage.predicate import at, rank
from fastcms_common.storage.rules import TableRules
from tests.property.storage.engines import LOOSE, NIGHTLY, STRICT, examples, keeping, typed
from tests.property.storage.mongo_model import Model, compare, evaluate
from tests.property.storage.strategies import documents, keys, paths, queries

tables = st.sampled_from([LOOSE, STRICT])
many_examples = settings(examples, max_examples=20_000 if NIGHTLY else 100)


@pytest.mark.parametrize("hollow", [True, False])
@many_examples
@given(table=tables, docs=documents(), asked=st.lists(queries, min_size=1, max_size=6))
def test_a_filter_finds_what_the_reference_finds(
    hollow: bool, table: Table, docs: list[Document], asked: list[Query]
) -> None:
    kept = keeping(table, docs)
    for query in asked:
        wanted = filter_of(query, TableRules.of(table).scalars)
        note(f"{query}: {wanted}")
        for doc in kept:
            assert Model(hollow=hollow).matches(wanted, encode(doc)) == matches(query, doc), doc


@examples
@given(docs=documents(), path=paths)
def test_a_computed_key_sorts_like_the_reference(docs: list[Document], path: tuple[str, ...]) -> None:
    expression: Any = sort_expression(path, frozenset())
    found = [(evaluate(expression, encode(doc), {}), rank(at(doc, path))) for doc in docs]
    for key, place in found:
        for other_key, other_place in found:
            assert compare(key, other_key) == (place > other_place) - (place < other_place)


@examples
@given(docs=documents())
def test_a_document_survives_its_escaping(docs: list[Document]) -> None:
    for doc in docs:
        assert typed(decode(encode(doc))) == typed(doc)


@examples
@given(key=keys, path=paths)
def test_no_key_is_an_operator_a_path_or_an_index(key: str, path: tuple[str, ...]) -> None:
    assert unescaped(escaped(key)) == key
    assert escaped(key)
    assert not escaped(key).startswith("$")
    assert not escaped(key).isdigit()
    assert mongo_path(path).count(".") == len(path) - 1
