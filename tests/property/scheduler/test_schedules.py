"""Due times against a plain reading of the rules, minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.schedules import parse_interval

moments = st.datetimes(datetime(2024, 1, 1), datetime(2032, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.tuples(st.just("*") | span, st.integers(1, high)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    return st.just("*") | st.lists(number.map(str) | span | step, min_size=1, max_size=3).map(",".join)


def holds(text: str, value: int, low: int, high: int) -> bool:
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-") if span != "*" else (str(low), "-", str(high))
        if int(first) <= value <= int(last or first) and (value - int(first)) % int(step or 1) == 0:
            return True
    return False


def is_due(fields: tuple[str, ...], minute: datetime) -> bool:
    weekday = minute.isoweekday() % 7
    in_month = holds(fields[2], minute.day, 1, 31)
    in_week = holds(fields[4], weekday, 0, 6)
    either = not fields[2].startswith("*") and not fields[4].startswith("*")
    return (
        holds(fields[0], minute.minute, 0, 59)
        and holds(fields[1], minute.hour, 0, 23)
        and holds(fields[3], minute.month, 1, 12)
        and ((in_month or in_week) if either else (in_month and in_week))
    )


# Within two days, so that going through the minutes one by one stays cheap.
fields = st.tuples(field(0, 59), field(0, 23), st.just("*") | field(1, 31), st.just("*"), st.just("*") | field(0, 6))


@given(fields, moments)
def test_a_cron_line_is_due_exactly_when_all_its_fields_fit(line: tuple[str, ...], moment: datetime):
    schedule = parse_interval(" ".join(line))
    following = schedule.following(moment)
    assert is_due(line, following)
    minute = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for _ in range(2 * 24 * 60):
        if minute >= following:
            break
        assert not is_due(line, minute)
        minute += timedelta(minutes=1)


@given(st.one_of(fields.map(" ".join), st.integers(1, 10**6).map(lambda seconds: f"{seconds}s")), moments)
def test_previous_and_following_agree(text: str, moment: datetime):
    schedule = parse_interval(text)
    previous, following = schedule.previous(moment), schedule.following(moment)
    assert previous <= moment < following
    assert schedule.following(previous) == following
    assert schedule.previous(following) == following
    assert schedule.previous(following - timedelta(microseconds=1)) == previous


@given(st.integers(1, 5000), moments, st.integers(0, 20_000))
def test_the_count_of_missed_due_times_is_that_of_stepping_through_them(period: int, after: datetime, seconds: int):
    schedule = parse_interval(f"{period}s")
    before = schedule.previous(after + timedelta(seconds=seconds))
    count, due = 0, schedule.following(after)
    while due < before:
        count, due = count + 1, schedule.following(due)
    assert schedule.between(after, before) == count
