"""Patterns of fields: whole texts, in time that grows with the text alone."""

from __future__ import annotations

import time

import pytest

from collections_service.values import MAX_PATTERN_TEXT, BadValue, pattern


@pytest.mark.parametrize(
    ("expression", "text", "fits"),
    [
        ("[a-z]+", "abc", True),
        ("[a-z]+", "abc1", False),
        ("[a-z]+", "abc\n", False),
        ("a|b", "ab", False),
        ("^a$", "a", True),
        ("(?m)^a$", "a\nb", False),
        ("(?i)abc", "ABC", True),
        (r"\p{Lu}\w*", "Ärger", True),
    ],
)
def test_a_whole_text_has_to_fit(expression: str, text: str, fits: bool) -> None:
    assert pattern(expression)(text) is fits


@pytest.mark.parametrize("expression", ["(", "a)|(b", "(?=a)", r"(a)\1", "(a{1000}){1000}", "(?x) a # )", "[z-a]"])
def test_what_cannot_be_compiled_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        pattern(expression)


@pytest.mark.parametrize("expression", ["(a+)+b", "(a|aa)+b", "(a|a?)+b", "(.*)*x", "(a*)*(a*)*b"])
def test_no_pattern_runs_away(expression: str) -> None:
    started = time.perf_counter()
    assert pattern(expression)("a" * 50_000) is False
    assert time.perf_counter() - started < 2


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(BadValue):
        pattern("a*")("a" * (MAX_PATTERN_TEXT + 1))
