"""Messages to JSON: every field is written, one without a value as null; 64-bit integers as numbers."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway import fields, timestamps

Encoder = Callable[[Any], Any]
"""Turns a message or a single value into what orjson writes."""

_ENTRY: Final = "value"

_WELL_KNOWN: Final[dict[str, Encoder]] = {
    "google.protobuf.Timestamp": timestamps.text_of,
    "google.protobuf.Duration": lambda duration: duration.ToJsonString(),
    "google.protobuf.FieldMask": lambda mask: ",".join(mask.paths),
}


def compile_encoder(message: Descriptor, only: str = "") -> Callable[[Any], bytes]:
    """What writes a message of this type as JSON text; with `only`, the value of that field alone."""
    compiler = _Compiler()
    encode = compiler.field(message.fields_by_name[only]) if only else compiler.message(message)
    dumps = orjson.dumps
    return lambda value: dumps(encode(value))


class _Compiler:
    def __init__(self) -> None:
        self._encoders: dict[str, Encoder] = {}

    def message(self, message: Descriptor) -> Encoder:
        known = _WELL_KNOWN.get(message.full_name) or self._encoders.get(message.full_name)
        if known is not None:
            return known
        parts: list[tuple[str, Encoder]] = []

        def encode(value: Message) -> dict[str, Any]:
            return {key: part(value) for key, part in parts}

        # Before its fields are compiled: a message may hold itself.
        self._encoders[message.full_name] = encode
        parts.extend(
            (key, self.field(message.fields_by_name[name])) for name, key in fields.json_names(message).items()
        )
        return encode

    def field(self, field: FieldDescriptor) -> Encoder:
        """What reads one field of a message that is given whole."""
        name = field.name
        get = attrgetter(name)
        if fields.is_map(field):
            encode = self._value(fields.message_of(field).fields_by_name[_ENTRY])
            return lambda message: {_map_key(key): encode(value) for key, value in get(message).items()}
        encode = self._value(field)
        if field.is_repeated:
            if encode is _same:
                return lambda message: list(get(message))
            return lambda message: [encode(value) for value in get(message)]
        if field.has_presence:
            return lambda message: encode(get(message)) if message.HasField(name) else None
        if encode is _same:
            return get
        return lambda message: encode(get(message))

    def _value(self, field: FieldDescriptor) -> Encoder:
        if field.message_type is not None:
            return self.message(field.message_type)
        if field.enum_type is not None:
            names = {value.number: value.name for value in field.enum_type.values}
            return lambda number: names.get(number, number)
        if fields.is_json(field):
            return _json
        if field.type == FieldDescriptor.TYPE_BYTES:
            return lambda value: base64.b64encode(value).decode()
        if field.type == FieldDescriptor.TYPE_FLOAT:
            return _shortest
        return _same


def _same(value: Any) -> Any:
    return value


def _map_key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)


def _json(text: bytes) -> orjson.Fragment | None:
    return orjson.Fragment(text) if text else None


def _shortest(value: float) -> float:
    """The shortest decimal that reads back as the same single-precision number."""
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if struct.unpack("f", struct.pack("f", short))[0] == value:
            return short
    return value
