"""Times as text: RFC 3339, UTC, always six decimals, always `Z` (`2026-11-20T21:40:00.000000Z`).

One fixed width means that the order of the text is the order of the times, so storage compares and sorts them as plain
strings, the same in every engine.
"""

from __future__ import annotations

from datetime import UTC, datetime

from fastcms_common.errors import Invalid

WIDTH = len("2026-11-20T21:40:00.000000Z")


def now() -> datetime:
    """The present moment, aware, UTC."""
    return datetime.now(UTC)


def now_text() -> str:
    """The present moment as canonical text."""
    return to_text(now())


def to_text(moment: datetime) -> str:
    """Canonical text of an aware datetime; a naive one is a programming error (ValueError)."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone has no place on the time line")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(WIDTH, "0")


def from_text(text: str) -> datetime:
    """The datetime (aware, UTC) of canonical text. ValueError for anything that is not RFC 3339 with a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no zone in {text!r}")
    return moment.astimezone(UTC)


def canonical(text: str, field: str) -> str:
    """Any RFC 3339 time as canonical text; a plain date is its midnight UTC. Invalid naming `field` otherwise."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            if len(text) != len("2026-11-20"):
                raise ValueError("no zone")
            moment = moment.replace(tzinfo=UTC)
        return to_text(moment)
    except (ValueError, OverflowError) as error:
        raise Invalid.field(field, "must be an RFC 3339 time with a zone, such as 2026-11-20T21:40:00Z") from error
