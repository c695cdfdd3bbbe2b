"""Single values of protobuf types, checked: from JSON, and from the text of a path, a query or a header.

Every reader takes one value and gives what the message field wants, or raises `Wrong` with a sentence for the caller.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from gateway import timestamps

Reader = Callable[[Any], Any]

# A float holds every whole number up to here, so that 5.0 is 5 and nothing else.
_EXACT: Final = 2**53
_MAX_FLOAT: Final = 3.4028234663852886e38


class Wrong(ValueError):
    """A value that does not fit its field; the text is for the caller."""


def _integer(low: int, high: int) -> Reader:
    def read(value: Any) -> int:
        if type(value) is float and value.is_integer() and -_EXACT <= value <= _EXACT:
            value = int(value)
        if type(value) is not int:
            # Whole numbers past 64 bits come out of the parser as floats.
            if type(value) is float and value.is_integer():
                raise Wrong(f"Must be between {low} and {high}.")
            raise Wrong("Must be an integer.")
        if not low <= value <= high:
            raise Wrong(f"Must be between {low} and {high}.")
        return value

    return read


def _double(value: Any) -> float:
    if type(value) is float or type(value) is int:
        return float(value)
    raise Wrong("Must be a number.")


def _float(value: Any) -> float:
    number = _double(value)
    if abs(number) > _MAX_FLOAT:
        raise Wrong("Must fit a single-precision number.")
    return number


def _string(value: Any) -> str:
    if type(value) is not str:
        raise Wrong("Must be a string.")
    return value


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise Wrong("Must be true or false.")
    return value


def _bytes(value: Any) -> bytes:
    if type(value) is not str:
        raise Wrong("Must be a string in base64.")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Wrong("Must be a string in base64.") from None


def _timestamp(value: Any) -> Timestamp:
    if type(value) is not str:
        raise Wrong(timestamps.EXPECTED)
    try:
        return timestamps.parse(value)
    except ValueError:
        raise Wrong(timestamps.EXPECTED) from None


def _duration(value: Any) -> Duration:
    duration = Duration()
    try:
        duration.FromJsonString(value)
    except (ValueError, TypeError, AttributeError):
        raise Wrong("Must be a number of seconds such as 3.5s.") from None
    return duration


def _field_mask(value: Any) -> FieldMask:
    if type(value) is not str:
        raise Wrong("Must be a string of field names, comma-separated.")
    return FieldMask(paths=[path for path in value.split(",") if path])


def _enum(enum: EnumDescriptor) -> Reader:
    numbers = {value.name: value.number for value in enum.values}
    names = ", ".join(numbers)

    def read(value: Any) -> int:
        number = numbers.get(value) if type(value) is str else None
        if number is None:
            raise Wrong(f"Must be one of {names}.")
        return number

    return read


_INT32: Final = _integer(-(2**31), 2**31 - 1)
_INT64: Final = _integer(-(2**63), 2**63 - 1)
_UINT32: Final = _integer(0, 2**32 - 1)
_UINT64: Final = _integer(0, 2**64 - 1)

_INTEGERS: Final[Mapping[int, Reader]] = {
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_SINT32: _INT32,
    FieldDescriptor.TYPE_SFIXED32: _INT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_SINT64: _INT64,
    FieldDescriptor.TYPE_SFIXED64: _INT64,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_FIXED32: _UINT32,
    FieldDescriptor.TYPE_UINT64: _UINT64,
    FieldDescriptor.TYPE_FIXED64: _UINT64,
}

_SCALARS: Final[Mapping[int, Reader]] = {
    **_INTEGERS,
    FieldDescriptor.TYPE_DOUBLE: _double,
    FieldDescriptor.TYPE_FLOAT: _float,
    FieldDescriptor.TYPE_STRING: _string,
    FieldDescriptor.TYPE_BOOL: _bool,
    FieldDescriptor.TYPE_BYTES: _bytes,
}

WELL_KNOWN: Final[Mapping[str, Reader]] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "google.protobuf.FieldMask": _field_mask,
}
"""Messages that JSON writes as a single string."""


def json_reader(field: FieldDescriptor) -> Reader | None:
    """What reads one JSON value of `field`; None for a message that is an object in JSON."""
    if field.enum_type is not None:
        return _enum(field.enum_type)
    if field.message_type is not None:
        return WELL_KNOWN.get(field.message_type.full_name)
    return _SCALARS[field.type]


def text_reader(field: FieldDescriptor) -> Reader | None:
    """What reads one value of `field` from text; None for a message that is an object in JSON."""
    read = json_reader(field)
    if read is None:
        return None
    if field.type in _INTEGERS:
        return lambda text: read(_whole_number(text))
    if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return lambda text: read(_number(text))
    if field.type == FieldDescriptor.TYPE_BOOL:
        return _truth
    return read


def _whole_number(text: str) -> int:
    digits = text[1:] if text.startswith("-") else text
    # int() would also take blanks, underscores and the digits of other scripts.
    if not digits.isascii() or not digits.isdigit():
        raise Wrong("Must be an integer.")
    if len(digits) > 20:
        raise Wrong("Is out of range.")
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text) if text.isascii() and "_" not in text and text == text.strip() else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Wrong("Must be a number.")
    return number


def _truth(text: str) -> bool:
    if text == "true":
        return True
    if text == "false":
        return False
    raise Wrong("Must be true or false.")
