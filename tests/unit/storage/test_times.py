"""Times as text whose order is the order of the times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from fastcms_common import times
from fastcms_common.errors import Invalid


def test_now_is_canonical_and_reads_back() -> None:
    text = times.now_text()
    assert len(text) == times.WIDTH
    assert times.to_text(times.from_text(text)) == text


def test_text_order_is_time_order() -> None:
    start = datetime(999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    moments = [start, *(start + timedelta(days=days, microseconds=1) for days in (0, 1, 400_000, 700_000))]
    assert sorted(map(times.to_text, moments)) == [times.to_text(moment) for moment in sorted(moments)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-11-20T21:40:00Z", "2026-11-20T21:40:00.000000Z"),
        ("2026-11-20T23:40:00.5+02:00", "2026-11-20T21:40:00.500000Z"),
        ("2026-11-20", "2026-11-20T00:00:00.000000Z"),
    ],
)
def test_any_rfc_3339_time_becomes_canonical(given: str, expected: str) -> None:
    assert times.canonical(given, "t") == expected


@pytest.mark.parametrize(
    "given", ["", "yesterday", "2026-13-01T00:00:00Z", "2026-11-20T21:40:00", "0001-01-01T00:00:00+23:00"]
)
def test_what_is_no_time_is_refused_by_name(given: str) -> None:
    with pytest.raises(Invalid) as refused:
        times.canonical(given, "from_date")
    assert refused.value.fields[0].field == "from_date"


def test_a_time_without_a_zone_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="zone"):
        times.to_text(datetime(2026, 11, 20))
    assert times.to_text(datetime(2026, 11, 20, tzinfo=timezone(timedelta(hours=2)))) == "2026-11-19T22:00:00.000000Z"
