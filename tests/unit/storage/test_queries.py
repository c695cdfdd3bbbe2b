"""The tree and the reference: the table of the contract, case by case, and what is refused when it is built."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from fastcms_common.errors import Invalid
from fastcms_common.storage import (
    ALL,
    NONE,
    And,
    Compare,
    Field,
    In,
    Not,
    Or,
    Query,
    Value,
    eq,
    gt,
    has,
    like,
    lt,
    matches,
    ne,
)
from fastcms_common.storage.plan import simplify
from fastcms_common.storage.predicate import sort_key
from fastcms_common.storage.query import Op
from fastcms_common.storage.values import fold, folding_to, lower, lowering_to

DOC = {
    "id": "1",
    "title": "Straße ÄÖ",
    "n": 5,
    "big": 2**53 + 1,
    "flag": True,
    "null": None,
    "tags": ["a", "b"],
    "same": ["a", "a"],
    "none": [],
    "geo": {"lat": 1.5},
    "list": [{"x": 1}],
}


def compare(field: str, op: Op, value: Any, *, some: bool = False) -> Query:
    return Compare(Field(field), op, Value(value), some)


TRUE: list[Query] = [
    eq("missing", None), eq("geo.missing.deep", None), eq("null", None), eq("list.x", None), ne("n", None),
    ne("null", "x"), Compare(Field("missing"), "=", Field("null")), eq("n", 5.0), eq("geo.lat", 1.5),
    gt("n", 4.5), gt("big", float(2**53)), lt("title", "T"), eq("flag", True), ne("flag", 1), ne("n", "5"),
    has("tags", "a"), eq("same", "a"), compare("tags", "!=", "c"), compare("tags", "!=", "a", some=True),
    compare("tags", "~", "%"), like("title", "STRAßE"), like("title", "%äö"), like("title", "s%ö"),
    compare("n", "!~", "5"), compare("null", "!~", "x"), Not(lt("null", 1)), In("tags", ["x", "b"]),
    In("missing", [None]), Compare(Field("tags", length=True), "=", Value(2)),
    Compare(Field("none", length=True), "=", Value(0)), Compare(Field("n", length=True), "=", Value(1)),
    Compare(Field("title", lower=True), "=", Value("straße äö")), Compare(Value(4), "<", Field("n")),
    Compare(Value(1), "<", Value(2)), Compare(Field("n"), "=", Value([5, 5])),
    Compare(Field("tags"), "=", Field("same"), any=True), ALL, And(), Not(Or()), ne("geo", None),
    ne("geo", "x"), Not(eq("geo", None)),
]  # fmt: skip

FALSE: list[Query] = [
    ne("missing", None), eq("n", "5"), eq("flag", 1), eq("big", 2**53), lt("null", 1), gt("n", None),
    gt("n", "1"), lt("flag", 5), eq("tags", "a"), eq("none", "a"), compare("none", "!=", "a"),
    compare("none", "!=", "a", some=True), has("none", None), like("title", "strasse"), like("title", "s_raße"),
    like("title", "%a"), like("n", "5"), compare("null", "~", ""),
    Compare(Field("title", lower=True), "=", Value("STRASSE")), In("tags", []),
    Compare(Field("geo"), "=", Field("geo")), Compare(Field("tags"), "=", Field("same")),
    compare("n", "<", [6, 5]), compare("n", "=", []), NONE, Or(), Not(And()), eq("tags.0", "a"),
    eq("list.x", 1), compare("list", "=", None),
]  # fmt: skip


@pytest.mark.parametrize("query", TRUE, ids=repr)
def test_these_hold(query: Query) -> None:
    assert matches(query, DOC)
    assert not matches(Not(query), DOC)
    assert matches(simplify(query), DOC)


@pytest.mark.parametrize("query", FALSE, ids=repr)
def test_these_do_not_hold(query: Query) -> None:
    assert not matches(query, DOC)
    assert matches(Not(query), DOC)
    assert not matches(simplify(query), DOC)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**63, "a\0", "\udc00", b"x", {"a": 1}, [["a"]], [2**64], object()]
)
def test_a_literal_that_no_engine_can_keep_is_refused(value: Any) -> None:
    with pytest.raises(Invalid):
        Value(value)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Compare(Field("a"), "==", Value(1)),  # type: ignore[arg-type]
        lambda: Compare(Field("a"), "~", Field("b")),
        lambda: Compare(Field("a", lower=True), "<", Value("b")),
        lambda: Compare(Field("a", lower=True), "=", Field("b")),
        lambda: like("a", "x" * 2001),
        lambda: Compare(Field("a", lower=True), "=", Value("x" * 2001)),
        lambda: In(Field("a", lower=True), ["b", "x" * 2001]),
        lambda: Field("a", lower=True, length=True),
        lambda: Field(""),
        lambda: Field("a..b"),
        lambda: Field(()),
        lambda: Field(("a", "b\0")),
    ],
)
def test_a_tree_that_no_engine_could_read_is_refused(build: Any) -> None:
    with pytest.raises(Invalid):
        build()


def test_simplify_leaves_no_sugar() -> None:
    assert simplify(And(ALL, Or(NONE, eq("a", 1)), And(eq("b", 2)))) == And(eq("a", 1), eq("b", 2))
    assert simplify(And(eq("a", 1), Not(ALL))) == NONE
    assert simplify(Not(Not(eq("a", 1)))) == eq("a", 1)
    assert simplify(Compare(Value(1), "<=", Field("a"))) == Compare(Field("a"), ">=", Value(1))
    assert simplify(Compare(Field("a"), "=", Value([1, 2]), any=True)) == In("a", [1, 2])
    assert simplify(lt("a", None)) == NONE


def test_sorting_ranks_kinds_and_breaks_ties_by_id() -> None:
    held = [None, [1], {"x": 1}, -1, 0.5, 2**53, 2**53 + 1, "", "B", "a", "\uffff", "😀", False, True]
    docs: list[dict[str, Any]] = [{"id": f"{place:02}", "v": value} for place, value in enumerate(held)]
    assert sorted(docs, key=sort_key([("v", 1)])) == docs
    assert sorted(docs, key=sort_key([("v", -1)])) == docs[::-1]
    assert [doc["id"] for doc in sorted(docs, key=sort_key([("missing", -1)]))] == [doc["id"] for doc in docs[::-1]]


def test_characters_fold_one_by_one() -> None:
    assert fold("ÄẞΣςſK") == "äßσσsk"
    assert lower("ÄẞΣςİ") == "äßσςİ"
    assert sorted(folding_to("k")) == ["K", "k", "\u212a"]
    assert sorted(folding_to("Σ")) == sorted("σΣς")
    assert (lowering_to("ς"), lowering_to("Σ"), lowering_to("1")) == ("ς", "", "1")
    assert all(fold(char) == fold(other) for char, other in pairwise(folding_to("s")))


def test_a_tree_can_be_compared_and_kept_in_sets() -> None:
    assert len({eq("a", 1), eq(("a",), 1), Compare(Field("a"), "=", Value(1))}) == 1
    assert json.dumps(repr(eq("a", 1)))
