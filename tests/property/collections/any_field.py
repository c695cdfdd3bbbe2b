"""Fields of every type under any constraints, with values that they take and values that they do not."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from typing import Any, TypeAlias

from fastcms_common.ids import new_id

Definition: TypeAlias = dict[str, Any]
"""A field as JSON has it."""

TYPES = (
    *("text", "editor", "number", "bool", "email", "url", "date", "datetime", "select", "relation", "json"),
    *("geopoint", "autodate"),
)
UNIQUE = ("text", "editor", "email", "url", "number", "date", "datetime")
CHARS = "abzAZ09 _%.$'\"\\\n-ßÄ𝕏{}"
WORDS = ("a", "b", "$set", "a.b", "o'x", "%", "_", "ÄÖ", " ", "null", "0", "-x", "a,b", "𝕏", '"')
# What stands for itself in raw JSON: numbers and texts that no field may keep.
NEVER: tuple[Any, ...] = (math.nan, math.inf, 10**400, "\ud800", "a\0b")
PATTERNS = {"[a-z]*": "abz", "[a-z]+": "abz", "a|b": None, r"\d{2,4}": "0189"}


def a_field(chance: random.Random, name: str, targets: list[str]) -> Definition:
    """A sound definition. `targets` are the collections that a relation may point to."""
    type = chance.choice(TYPES)
    field: Definition = {"name": name, "type": type}
    if type != "autodate":
        field |= {"required": chance.random() < 0.3, "hidden": chance.random() < 0.2}
    if type in UNIQUE and chance.random() < 0.15:
        field["unique"] = True
    _constrain(chance, field, targets)
    if type not in ("relation", "autodate") and chance.random() < 0.3:
        field["default"] = a_value(chance, field, {})[0]
    return field


def _constrain(chance: random.Random, field: Definition, targets: list[str]) -> None:
    type = field["type"]
    if type in ("text", "editor"):
        if chance.random() < 0.3:
            field["pattern"] = chance.choice(list(PATTERNS))
        elif chance.random() < 0.5:
            field["min_length"] = chance.randint(0, 3)
            field["max_length"] = chance.randint(3, 6)
    elif type == "number" and chance.random() < 0.5:
        field["min"] = chance.choice([-5, -0.5, 0, -(2**60)])
        field["max"] = chance.choice([0.5, 3, 2**53, 2**62])
    elif type == "select":
        field["values"] = chance.sample(WORDS, chance.randint(1, 6))
        if chance.random() < 0.6:
            field["max_select"] = chance.randint(1, 4)
    elif type == "relation":
        field["collection"] = chance.choice(targets)
        allowed = ["restrict", "cascade"] + ([] if field["required"] else ["set_null", "set_null", None])
        field["on_delete"] = chance.choice(allowed)
        if chance.random() < 0.5:
            field["max_select"] = chance.randint(1, 3)
    elif type == "autodate":
        field |= {"on_create": chance.random() < 0.7, "on_update": chance.random() < 0.5}


def is_many(field: Definition) -> bool:
    """Whether its values are lists."""
    return field["type"] in ("select", "relation") and (field.get("max_select") or 1) > 1


def bounds(field: Definition) -> tuple[float, float]:
    """The smallest and the largest number that the field takes; a field of the API has nulls for what was not said."""
    low, high = field.get("min"), field.get("max")
    return -(2**63) if low is None else low, 2**63 - 1 if high is None else high


def has_steps(field: Definition) -> bool:
    """Whether a change may add to it and take from it."""
    return field["type"] == "number" or is_many(field)


def a_value(chance: random.Random, field: Definition, ids: dict[str, list[str]]) -> tuple[Any, Any]:
    """A value that the field takes, as it is sent and as it is kept; LookupError where there is none to point to."""
    type = field["type"]
    if type == "relation":
        return _some(chance, field, ids.get(field["collection"], []))
    if type == "select":
        return _some(chance, field, field["values"])
    if type in ("text", "editor"):
        text = _text(chance, field)
        return text, text
    return globals()["_" + type](chance, field)  # type: ignore[no-any-return]


def _some(chance: random.Random, field: Definition, among: list[str]) -> tuple[Any, Any]:
    if not among and (field["required"] or not is_many(field)):
        raise LookupError("nothing to choose from")
    if not is_many(field):
        one = chance.choice(among)
        return one, one
    most = min(len(among), field["max_select"])
    value = chance.sample(among, chance.randint(1 if field["required"] else 0, most))
    return value, value


def _text(chance: random.Random, field: Definition) -> str:
    pattern = field.get("pattern")
    if pattern is not None:
        chars = PATTERNS[pattern]
        return "".join(chance.choices(chars, k=chance.randint(2, 4))) if chars else chance.choice("ab")
    least = max(field.get("min_length") or 0, 1 if field["required"] else 0)
    return "".join(chance.choices(CHARS, k=chance.randint(least, field.get("max_length") or 6)))


def _number(chance: random.Random, field: Definition) -> tuple[Any, Any]:
    low, high = bounds(field)
    fitting = [n for n in (0, -1, 1, 2.5, -0.0, 2**53 + 1, 2**63 - 1, -(2**63), 1e300, 5e-324, low) if low <= n <= high]
    value = chance.choice([*fitting, *(n for n in (chance.randint(-5, 5),) if low <= n <= high)])
    return value, value


def _bool(chance: random.Random, field: Definition) -> tuple[Any, Any]:
    value = chance.random() < 0.5
    return value, value


def _email(chance: random.Random, field: Definition) -> tuple[Any, Any]:
    value = f"{chance.choice('abc')}{chance.randint(0, 99)}+x@{chance.choice(['a.b', 'Example.COM'])}"
    return chance.choice(["", " "]) + value, value


def _url(chance: random.Random, field: Definition) -> tuple[Any, Any]:
    host = chance.choice(["http://a", "https://b:80", "https://[::1]", "http://ä.de"])
    value = f"{host}/{chance.choice(WORDS).strip()}"
    return value, value


def _date(chance: random.Random, field: Definition) -> tuple[Any, Any]:
    value = f"20{chance.randint(10, 26)}-0{chance.randint(1, 9)}-{chance.randint(10, 28)}"
    return value, value


def _datetime(chance: random.Random, field: Definition) -> tuple[Any, Any]:
    zone = chance.choice(["Z", "+00:00", "-11:30", "+14:00"])
    value = f"{_date(chance, field)[0]}T{chance.randint(10, 23)}:00:5{chance.choice(['9', '9.5', '9.123456'])}{zone}"
    return value, _as_time(value)


def _json(chance: random.Random, field: Definition) -> tuple[Any, Any]:
    value = chance.choice(
        [
            0,
            1.5,
            2**53 + 1,
            "a",
            "",
            "1",
            "null",
            True,
            False,
            [],
            {},
            [[1], None],
            {"$set": 1, "a.b": None, "": {}},
            {"id": "x"},
        ]
    )
    return value, value


def _geopoint(chance: random.Random, field: Definition) -> tuple[Any, Any]:
    value = {"lat": chance.choice([0, -90, 45.5]), "lon": chance.choice([0, 180, -12.25])}
    return value, value


def as_kept(field: Definition) -> Definition:
    """The definition as the API shows it: a default in the form in which it is kept."""
    default = field.get("default")
    if default is None or field["type"] not in ("datetime", "email"):
        return field
    return {**field, "default": _as_time(default) if field["type"] == "datetime" else default.strip()}


def _as_time(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def a_bad_value(chance: random.Random, field: Definition) -> Any:
    """A value that the field never takes."""
    type = field["type"]
    bad: list[Any] = [*NEVER]
    if type == "autodate":
        return chance.choice(["2026-01-01T00:00:00Z", 1, None])
    if field["required"]:
        bad.append(None)
        if type in ("text", "editor", "email", "url", "select", "relation"):
            bad.append([] if is_many(field) else "")
    if type not in ("json",):
        bad += [{}, {"lat": 91, "lon": 0}, {"lat": "0", "lon": 0}, {"$gt": ""}]
    if type not in ("json", "bool"):
        bad += [True, [[]], [None]]
    if type not in ("json", "number"):
        bad += [1, 2**63, -0.5]
    bad += _too_far(field)
    return chance.choice(bad)


def _too_far(field: Definition) -> list[Any]:
    type = field["type"]
    if type in ("text", "editor"):
        return (["x" * 7] if field.get("max_length") else []) + (["?"] if field.get("pattern") else [])
    if type == "number":
        beyond = [2**63, -(2**63) - 1, "1"]
        return beyond if field.get("max") is None else [*beyond, field["max"] + 2**54, field["min"] - 2**61]
    if is_many(field):
        many = [field["values"][0]] * 2 if type == "select" else [new_id()] * 4
        return [many, "x", ["no such"], new_id()]
    return {
        "select": ["no such", field.get("values", [])[:1]],
        "relation": [new_id(), new_id().upper(), [new_id()], "x"],
        "email": ["a@b", "a b@c.d", "@a.b", "a..b@c.d", "x" * 65 + "@a.b"],
        "url": ["javascript:alert(1)", "http://", "//a.b", "http://a b", "http://a:99999"],
        "date": ["2026-02-30", "20260101", "2026-01-01T00:00:00Z", "x"],
        "datetime": ["2026-01-01T00:00:00", "x", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00"],
        "bool": ["true", 0, []],
        "json": [{"a": "\0"}, [math.nan]],
        "geopoint": [{"lat": 0}, {"lat": 0, "lon": 181}, [0, 0], {"lat": 0, "lon": 0, "x": 0}],
    }[type]
