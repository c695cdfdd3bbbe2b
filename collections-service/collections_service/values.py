"""What one value of each field type may be: the type that msgspec checks, and what it cannot.

A check takes a value of the right JSON type and gives it as it is stored, or raises `BadValue` with a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from typing import Any, Literal, TypeAlias, Union
from urllib.parse import urlsplit

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

from collections_service.models import FieldDefinition
from fastcms_common import times
from fastcms_common.errors import Invalid
from fastcms_common.ids import is_uuid
from fastcms_common.storage.values import INT_MAX, INT_MIN, check_value

Check: TypeAlias = Callable[[Any], Any]

# Levels that a value of type json may nest; the body has 32 (contract, ground rules).
MAX_JSON_DEPTH = 32
# Matching takes time in proportion to the text; a longer one is refused rather than tested.
MAX_PATTERN_TEXT = 65_536
MAX_URL = 2048
MAX_EMAIL = 254  # RFC 5321, 4.5.3.1.3, less the brackets

# The `valid e-mail address` of the HTML standard, with a dot in the domain.
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_EMAIL = re.compile(rf"[a-zA-Z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})+")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f\s]")

# What msgspec lets through for each type, before the checks below.
JSON_TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("text", "editor", "email", "url", "date", "datetime", "autodate"), str),
    "number": Union[int, float],  # noqa: UP007 - msgspec wants the value of a type, not an annotation
    "bool": bool,
    "json": Any,
    "geopoint": dict[str, Union[int, float]],  # noqa: UP007
    "relation": str,
}
SENTENCES: Mapping[str, str] = {
    **dict.fromkeys(("text", "editor"), "must be text"),
    "email": "must be an e-mail address",
    "url": "must be a URL",
    "date": "must be a date such as 2026-11-20",
    "datetime": "must be an RFC 3339 time with a zone, such as 2026-11-20T21:40:00Z",
    "autodate": "is set by the server",
    "number": "must be a number",
    "bool": "must be true or false",
    "json": "must be JSON",
    "geopoint": "must be an object of two numbers, lat and lon",
    "relation": "must be the id of a record",
    "select": "must be one of the values of the field",
}


class BadValue(Exception):
    """What is wrong with a value; `inside` is the place within it, such as `[3].name`."""

    def __init__(self, message: str, inside: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.inside = inside


def json_type(field: FieldDefinition) -> Any:
    """The type that msgspec holds a value of the field to."""
    single = Literal[field.values] if field.type == "select" else JSON_TYPES[field.type]
    return list[single] if field.many else single  # type: ignore[valid-type]


def sentence(field: FieldDefinition) -> str:
    """What a value of the wrong type is told."""
    if field.many:
        return "must be a list of " + ("record ids" if field.type == "relation" else "values of the field")
    return SENTENCES[field.type]


def check_of(field: FieldDefinition) -> Check | None:
    """What remains to be checked of a value that msgspec let through; None where that is nothing."""
    if field.many:
        return _many(field)
    match field.type:
        case "text" | "editor":
            return _text(field)
        case "number":
            return _number(field)
        case "email":
            return then(email, _text(field))
        case "url":
            return then(url, _text(field))
        case "date":
            return day
        case "datetime":
            return moment
        case "relation":
            return record_id
        case "json":
            return json_value
        case "geopoint":
            return geopoint
        case _:
            return None


def then(first: Check, second: Check) -> Check:
    """Both checks, the second of what the first has made of the value."""
    return lambda value: second(first(value))


def _text(field: FieldDefinition) -> Check:
    shortest, longest, matches = field.min_length, field.max_length, pattern(field.pattern) if field.pattern else None
    # A required text says something.
    if field.required and not shortest:
        shortest = 1

    def check(value: str) -> str:
        _unicode(value)
        if shortest is not None and len(value) < shortest:
            raise BadValue("must not be empty" if shortest == 1 else f"must have at least {shortest} characters")
        if longest is not None and len(value) > longest:
            raise BadValue(f"must have at most {longest} characters")
        if matches is not None and not matches(value):
            raise BadValue("does not match the pattern of the field")
        return value

    return check


def _unicode(value: str) -> None:
    if "\0" in value:
        raise BadValue("must not contain the NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadValue("must be valid Unicode text") from None


@lru_cache(maxsize=1024)
def pattern(expression: str) -> Callable[[str], bool]:
    """A test of a whole text against a pattern, in time proportional to the text (docs/adr/0012).

    ValueError where the pattern cannot be compiled: look-around, back-references, or too large a machine.
    """
    # Compiled alone first, so that no parenthesis can close the group that anchors it.
    for source in (expression, rf"\A(?:{expression})\z"):
        try:
            validator = SchemaValidator(core_schema.str_schema(pattern=source, strict=True, regex_engine="rust-regex"))
        except SchemaError as error:
            raise ValueError(str(error).rstrip().rsplit("\n", 1)[-1].strip()) from None

    def matches(value: str) -> bool:
        if len(value) > MAX_PATTERN_TEXT:
            raise BadValue(f"must have at most {MAX_PATTERN_TEXT} characters to be matched with a pattern")
        try:
            validator.validate_python(value)
        except ValidationError:
            return False
        return True

    return matches


def _number(field: FieldDefinition) -> Check:
    low, high = field.min, field.max

    def check(value: int | float) -> int | float:
        if isinstance(value, int):
            if not INT_MIN <= value <= INT_MAX:
                raise BadValue("must be an integer of at most 64 bits")
        elif value - value != 0:  # NaN and the infinities
            raise BadValue("must be a finite number")
        if low is not None and value < low:
            raise BadValue(f"must be at least {_plain(low)}")
        if high is not None and value > high:
            raise BadValue(f"must be at most {_plain(high)}")
        return value

    return check


def _plain(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() and abs(bound) < 2**53 else str(bound)


def _many(field: FieldDefinition) -> Check:
    most = field.max_select or 1
    item = record_id if field.type == "relation" else None
    least = 1 if field.required else 0

    def check(value: list[str]) -> list[str]:
        if len(value) > most:
            raise BadValue(f"must have at most {most} values")
        if len(value) < least:
            raise BadValue("must have at least one value")
        if item is not None:
            for index, one in enumerate(value):
                try:
                    item(one)
                except BadValue as error:
                    raise BadValue(error.message, f"[{index}]") from None
        if len(set(value)) != len(value):
            raise BadValue("must not hold a value twice")
        return value

    return check


def email(value: str) -> str:
    """An e-mail address, without the spaces around it."""
    text = value.strip()
    local = text.partition("@")[0]
    if len(text) > MAX_EMAIL or _EMAIL.fullmatch(text) is None or ".." in local or local[0] == "." or local[-1] == ".":
        raise BadValue(SENTENCES["email"])
    return text


def url(value: str) -> str:
    """An http or https URL with a host."""
    if len(value) > MAX_URL:
        raise BadValue(f"must have at most {MAX_URL} characters")
    try:
        parts = urlsplit(value)
        # Reading the port is what checks it.
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port >= 0)
    except ValueError:
        sound = False
    if not sound or _UNPRINTABLE.search(value):
        raise BadValue("must be an http or https URL")
    return value


def day(value: str) -> str:
    """A calendar date, `YYYY-MM-DD`."""
    try:
        # Python also reads 20261120 and 2026-W47-5.
        if len(value) == 10 and date.fromisoformat(value).isoformat() == value:
            return value
    except ValueError:
        pass
    raise BadValue(SENTENCES["date"])


def moment(value: str) -> str:
    """A time as canonical text (`fastcms_common.times`)."""
    try:
        return times.canonical(value, "")
    except Invalid:
        raise BadValue(SENTENCES["datetime"]) from None


def record_id(value: str) -> str:
    """The id of a record."""
    if not is_uuid(value):
        raise BadValue(SENTENCES["relation"])
    return value


def json_value(value: Any) -> Any:
    """Any JSON that storage can keep exactly."""
    if depth(value) > MAX_JSON_DEPTH:
        raise BadValue(f"must not nest deeper than {MAX_JSON_DEPTH} levels")
    try:
        check_value(value, "")
    except Invalid as error:
        where = error.fields[0].field
        raise BadValue(error.fields[0].message, where if where[:1] in ("", "[") else f".{where}") from None
    return value


def depth(value: Any) -> int:
    """Levels of lists and objects within one another; stops counting where that is too many."""
    level, found = [value], 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        found += 1
        if found > MAX_JSON_DEPTH:
            break
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return found


def geopoint(value: dict[str, int | float]) -> dict[str, int | float]:
    """A place on Earth in degrees (WGS 84): `lat` -90 to 90, `lon` -180 to 180."""
    if value.keys() != {"lat", "lon"}:
        raise BadValue(SENTENCES["geopoint"])
    for name, limit in (("lat", 90), ("lon", 180)):
        if not -limit <= value[name] <= limit:
            raise BadValue(f"must be from -{limit} to {limit}", f".{name}")
    return value
