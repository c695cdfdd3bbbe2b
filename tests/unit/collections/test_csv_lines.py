"""CSV in which null and the empty text differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collections_service.csv_lines import CsvError, CsvReader, cells_of, row_text

CELLS = st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1, max_size=5)


@given(st.lists(CELLS, max_size=6), st.integers(1, 9))
def test_rows_read_back_as_they_were_in_pieces_of_any_size(rows: list[list[str | None]], step: int) -> None:
    text = "".join(row_text(cells) for cells in rows)
    reader = CsvReader()
    read = [row for start in range(0, len(text), step) for row in reader.feed(text[start : start + step])]
    assert reader.rest() is None
    assert [cells_of(row) for row in read] == rows


def test_null_and_the_empty_text_differ() -> None:
    assert row_text([None, "", "a"]) == ',"",a\r\n'
    assert cells_of(',"",a') == [None, "", "a"]


@pytest.mark.parametrize("row", ['a"b', '"a', '"a"b', '"a" ,b'])
def test_quotes_that_do_not_fit_are_refused(row: str) -> None:
    with pytest.raises(CsvError):
        cells_of(row)


def test_the_last_row_needs_no_line_end() -> None:
    reader = CsvReader()
    assert reader.feed('a\n"b\nc"') == ["a"]
    assert reader.rest() == '"b\nc"'


def test_a_quote_that_is_never_closed_does_not_swallow_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collections_service.csv_lines.MAX_ROW", 100)
    with pytest.raises(CsvError):
        CsvReader().feed('"' + "a\n" * 100)
