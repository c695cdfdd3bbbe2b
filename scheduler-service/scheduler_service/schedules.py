"""When a task is due.

An interval is `90s`, `15m`, `1h`, `7d`, or a cron line of five fields. Due times are points that everybody computes
alike: those of an interval are the multiples of it since the Unix epoch (so `1h` is due on the hour and `24h` at
midnight UTC), those of a cron line are minutes, in UTC. Nobody has to remember when something ran last to know them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TypeAlias

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST = timedelta(days=366)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_EVERY = re.compile(r"([0-9]{1,8})([smhd])")
_MONTHS = {
    name: at + 1
    for at, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])
}
_DAYS = {name: at for at, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
# The 29th of February comes back after eight years at the latest, around a year such as 2100.
_HORIZON_DAYS = 8 * 366


@dataclass(frozen=True, slots=True)
class Every:
    """An interval on a grid through `anchor`."""

    text: str
    period: timedelta
    anchor: datetime = EPOCH

    def previous(self, moment: datetime) -> datetime:
        """The last due time at or before `moment`."""
        return moment - (moment - self.anchor) % self.period

    def following(self, moment: datetime) -> datetime:
        """The first due time after `moment`."""
        return self.previous(moment) + self.period

    def between(self, after: datetime, before: datetime) -> int:
        """How many due times there are after `after` and before `before`."""
        first = self.following(after)
        return 0 if first >= before else 1 + (before - first - timedelta(microseconds=1)) // self.period


@dataclass(frozen=True, slots=True)
class CronLine:
    """A cron line, as POSIX has it: minute, hour, day of the month, month, day of the week (0 and 7 are Sunday).

    Where both days are restricted, a day that fits one of them is due.
    """

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    def previous(self, moment: datetime) -> datetime:
        """The last due time at or before `moment`."""
        return next(self._backwards(moment))

    def following(self, moment: datetime) -> datetime:
        """The first due time after `moment`."""
        start = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        for offset in range(_HORIZON_DAYS):
            day = start.replace(hour=0, minute=0) + timedelta(days=offset)
            if self._fits(day):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        due = day.replace(hour=hour, minute=minute)
                        if due >= start:
                            return due
        raise ValueError(f"{self.text!r} is never due")

    def between(self, after: datetime, before: datetime) -> int:
        """How many due times there are after `after` and before `before`; it counts no further than a thousand."""
        count = 0
        for due in self._backwards(before - timedelta(microseconds=1)):
            if due <= after or count == 1000:
                break
            count += 1
        return count

    def _backwards(self, moment: datetime) -> Iterator[datetime]:
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        for offset in range(_HORIZON_DAYS):
            day = midnight - timedelta(days=offset)
            if self._fits(day):
                for hour in sorted(self.hours, reverse=True):
                    for minute in sorted(self.minutes, reverse=True):
                        due = day.replace(hour=hour, minute=minute)
                        if due <= moment:
                            yield due

    def _fits(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (of_month or of_week) if self.either_day else (of_month and of_week)


Schedule: TypeAlias = Every | CronLine


@lru_cache(maxsize=1024)
def parse_interval(text: str, anchor: datetime | None = None) -> Schedule:
    """The schedule that `text` describes. ValueError, with a sentence for a person, where it describes none."""
    clean = " ".join(text.lower().split())
    if every := _EVERY.fullmatch(clean):
        seconds = int(every[1]) * _UNITS[every[2]]
        if not 1 <= seconds <= LONGEST.total_seconds():
            raise ValueError("must be between 1s and 366d")
        return Every(clean, timedelta(seconds=seconds), anchor or EPOCH)
    fields = clean.split(" ")
    if len(fields) != 5:
        raise ValueError("must be an interval such as 90s, 15m, 1h or 7d, or a cron line of five fields")
    days, weekdays = _cron_field(fields[2], 1, 31), _cron_field(fields[4], 0, 7, _DAYS)
    line = CronLine(
        text=clean,
        minutes=_cron_field(fields[0], 0, 59),
        hours=_cron_field(fields[1], 0, 23),
        days=days,
        months=_cron_field(fields[3], 1, 12, _MONTHS),
        weekdays=frozenset(day % 7 for day in weekdays),
        either_day=not fields[2].startswith("*") and not fields[4].startswith("*"),
    )
    line.following(EPOCH)
    return line


def _cron_field(text: str, low: int, high: int, names: dict[str, int] | None = None) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, _, step_text = part.partition("/")
        step = 1 if "/" not in part else _cron_number(step_text, 1, high, {}, part)
        if span == "*":
            first, last = low, high
        else:
            first_text, dash, last_text = span.partition("-")
            first = _cron_number(first_text, low, high, names or {}, part)
            last = _cron_number(last_text, low, high, names or {}, part) if dash else first
            if "/" in part and not dash:
                last = high
        if first > last:
            raise ValueError(f"the cron field {part!r} runs backwards")
        values.update(range(first, last + 1, step))
    return frozenset(values)


def _cron_number(text: str, low: int, high: int, names: dict[str, int], part: str) -> int:
    if text in names:
        return names[text]
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and low <= int(text) <= high):
        raise ValueError(f"the cron field {part!r} must lie between {low} and {high}")
    return int(text)


def shortest_gap(schedule: Schedule) -> timedelta:
    """The shortest time between two due times, where that is known: the period of an interval, a minute for cron."""
    return schedule.period if isinstance(schedule, Every) else timedelta(minutes=1)
