"""The parser under any text at all, and its tree under printing and reading back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collections_service.rules.errors import ExpressionError, explain
from collections_service.rules.parser import parse
from collections_service.rules.tree import (
    MODIFIERS,
    MOMENTS,
    OPS,
    STEPS,
    And,
    Compare,
    Constant,
    Expression,
    Macro,
    Not,
    Or,
    Path,
    to_text,
)
from tests.property.collections.settings import many

NAMES = st.sampled_from(["a", "title", "author", "x_1", "Team", "nullx", "true_"])
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
CONSTANTS = st.one_of(
    TEXT, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()
).map(Constant)
MODIFIER = st.none() | st.sampled_from(MODIFIERS)
PATHS = st.one_of(
    st.builds(
        Path,
        st.sampled_from(["record", "auth", "data", "query"]),
        st.lists(NAMES, min_size=1, max_size=4).map(tuple),
        MODIFIER,
    ),
    st.builds(Path, st.just("collection"), st.lists(NAMES, min_size=2, max_size=3).map(tuple), MODIFIER),
    st.just(Path("method", ())),
)
MACROS = st.sampled_from(MOMENTS).map(Macro) | st.builds(Macro, st.sampled_from(STEPS), st.integers(-99, 99))
COMPARES = st.builds(
    Compare,
    CONSTANTS | PATHS | MACROS,
    st.sampled_from(OPS),
    CONSTANTS | PATHS | MACROS,
    st.booleans(),
)


def _flat(kind: type[And | Or], parts: list[Expression]) -> Expression:
    return kind(tuple(inner for part in parts for inner in (part.parts if isinstance(part, kind) else (part,))))


EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    COMPARES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: _flat(And, parts)),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: _flat(Or, parts)),
        inner.filter(lambda part: not isinstance(part, Not)).map(Not),
    ),
    max_leaves=8,
)
WORDS = st.lists(
    st.sampled_from(
        [
            "a",
            "@",
            "@request",
            ".",
            "auth",
            "id",
            ":lower",
            "(",
            ")",
            "!",
            "&&",
            "||",
            "=",
            "?",
            "?!~",
            ">",
            "<",
            "~",
            '"',
            "'",
            "\\",
            "1",
            "-",
            "e9",
            " ",
            "@now",
            "@day-7",
            "null",
        ]
    ),
    max_size=30,
).map("".join)


@many
@given(st.text() | WORDS)
def test_any_text_gives_a_tree_or_a_mistake_with_a_place(text: str) -> None:
    mistake: ExpressionError | None = None
    try:
        tree = parse(text)
    except ExpressionError as error:
        mistake = error
    if mistake is None:
        assert parse(to_text(tree)) == tree
    else:
        assert 0 <= mistake.at <= len(text)
        assert explain(text, mistake).endswith("^")


@many
@given(EXPRESSIONS)
def test_a_printed_tree_reads_back_as_itself(tree: Expression) -> None:
    text = to_text(tree)
    if len(text.encode()) <= 4096:
        assert parse(text) == tree
