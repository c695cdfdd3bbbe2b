"""When tasks are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from scheduler_service.schedules import CronLine, Every, parse_interval


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "period"),
    [("90s", 90), ("15m", 900), ("1h", 3600), ("24h", 86400), ("7d", 604800), (" 1H ", 3600), ("366d", 366 * 86400)],
)
def test_an_interval_is_read(text: str, period: int):
    schedule = parse_interval(text)
    assert isinstance(schedule, Every)
    assert schedule.period == timedelta(seconds=period)


@pytest.mark.parametrize(
    "text",
    ["", "0s", "-1h", "1w", "h", "1.5h", "1h30m", "367d", "99999999d", "* * * *", "* * * * * *", "60 * * * *",
     "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *", "5-1 * * * *", "a * * * *", "1,,2 * * * *",
     "٣ * * * *", "- * * * *", "*-5 * * * *", "1/ * * * *", "0 0 30 2 *", "0 0 31 4 *"],
)  # fmt: skip
def test_what_is_no_interval_is_refused_with_a_sentence(text: str):
    with pytest.raises(ValueError, match=r"must|runs backwards|never due"):
        parse_interval(text)


def test_hours_are_due_on_the_hour_and_days_at_midnight():
    assert parse_interval("1h").previous(at("2026-03-02T10:59:59")) == at("2026-03-02T10:00:00")
    assert parse_interval("24h").following(at("2026-03-02T10:00:00")) == at("2026-03-03T00:00:00")


def test_a_due_time_is_its_own_previous_and_not_its_own_following():
    for text in ("90s", "5 4 * * *"):
        schedule = parse_interval(text)
        due = schedule.following(at("2026-03-02T10:00:01"))
        assert schedule.previous(due) == due
        assert schedule.following(due) > due


def test_an_anchor_moves_the_grid():
    anchor = at("2026-03-02T10:00:07")
    schedule = parse_interval("60s", anchor)
    assert schedule.previous(at("2026-03-02T10:01:06")) == anchor
    assert schedule.following(at("2026-03-02T10:01:06")) == at("2026-03-02T10:01:07")


@pytest.mark.parametrize(
    ("line", "moment", "following"),
    [
        ("*/15 * * * *", "2026-03-02T10:16:30", "2026-03-02T10:30:00"),
        ("0 0 1 * *", "2026-03-02T10:16:30", "2026-04-01T00:00:00"),
        ("30 4 * * mon", "2026-03-02T10:16:30", "2026-03-09T04:30:00"),
        ("30 4 * * 7", "2026-03-02T10:16:30", "2026-03-08T04:30:00"),
        ("0 12 13 * fri", "2026-03-02T10:16:30", "2026-03-06T12:00:00"),
        ("0 12 29 2 *", "2026-03-02T10:16:30", "2028-02-29T12:00:00"),
        ("0 12 29 2 *", "2096-03-01T00:00:00", "2104-02-29T12:00:00"),
        ("5-10/5,50 23 31 dec *", "2026-03-02T10:16:30", "2026-12-31T23:05:00"),
        ("10/20 * * * *", "2026-03-02T10:16:30", "2026-03-02T10:30:00"),
    ],
)
def test_a_cron_line_is_due_at(line: str, moment: str, following: str):
    schedule = parse_interval(line)
    assert isinstance(schedule, CronLine)
    assert schedule.following(at(moment)) == at(following)


def test_due_times_in_between_are_counted():
    for text in ("1h", "0 * * * *"):
        schedule = parse_interval(text)
        assert schedule.between(at("2026-03-02T10:00:00"), at("2026-03-02T10:00:00")) == 0
        assert schedule.between(at("2026-03-02T10:00:00"), at("2026-03-02T11:00:00")) == 0
        assert schedule.between(at("2026-03-02T10:00:00"), at("2026-03-02T13:00:00")) == 2
        assert schedule.between(at("2026-03-02T10:30:00"), at("2026-03-02T13:00:00.5")) == 3
