"""What `@now` and its kin stand for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from collections_service.rules.request import moment_of
from collections_service.rules.tree import Macro

NOW = datetime(2024, 3, 31, 15, 30, 45, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("macro", "moment"),
    [
        (Macro("now"), NOW),
        (Macro("today"), datetime(2024, 3, 31, tzinfo=UTC)),
        (Macro("weekStart"), datetime(2024, 3, 25, tzinfo=UTC)),
        (Macro("monthStart"), datetime(2024, 3, 1, tzinfo=UTC)),
        (Macro("yearStart"), datetime(2024, 1, 1, tzinfo=UTC)),
        (Macro("second", -45), NOW.replace(second=0)),
        (Macro("minute", 5), NOW.replace(minute=35)),
        (Macro("hour", -16), datetime(2024, 3, 30, 23, 30, 45, 123456, tzinfo=UTC)),
        (Macro("day", -7), NOW.replace(day=24)),
        (Macro("week", 1), datetime(2024, 4, 7, 15, 30, 45, 123456, tzinfo=UTC)),
        # A month that has no such day ends earlier.
        (Macro("month", -1), NOW.replace(month=2, day=29)),
        (Macro("month", 1), NOW.replace(month=4, day=30)),
        (Macro("month", -13), NOW.replace(year=2023, month=2, day=28)),
        (Macro("month", 9), NOW.replace(month=12)),
        (Macro("year", -1), NOW.replace(year=2023)),
        (Macro("year", 1000), NOW.replace(year=3024)),
    ],
)
def test_a_macro_is_a_moment(macro: Macro, moment: datetime) -> None:
    assert moment_of(macro, NOW) == moment


def test_the_last_day_of_february_a_year_later() -> None:
    assert moment_of(Macro("year", 1), datetime(2024, 2, 29, tzinfo=UTC)) == datetime(2025, 2, 28, tzinfo=UTC)
