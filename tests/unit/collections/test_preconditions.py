"""`If-Match` as RFC 9110 has it."""

from __future__ import annotations

import pytest

from collections_service.preconditions import if_match, require
from fastcms_common.errors import Stale
from fastcms_common.storage import ALL

RECORD = {"id": "1", "rev": "abc"}


@pytest.mark.parametrize("header", ["", "*", " * ", '"abc.1a"', '"abc.9u"', '"x.1a", "abc.1a"', 'W/"x.1a" , "abc.2o"'])
def test_a_header_that_names_the_record_admits_it(header: str) -> None:
    require(header, RECORD)


@pytest.mark.parametrize(
    "header", ['"abc"', '"x.1a"', 'W/"abc.1a"', "abc.1a", '"abc.1a', '"a" "b"', ",", '""', "é", "**"]
)
def test_any_other_header_does_not(header: str) -> None:
    with pytest.raises(Stale):
        require(header, RECORD)


def test_no_header_asks_nothing_of_the_query() -> None:
    assert if_match("") is ALL
