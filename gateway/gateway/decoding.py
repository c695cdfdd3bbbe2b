"""JSON to messages, strictly: every bad field of a body is named at once, nothing is ignored.

`parse` reads the text; `compile_filler` turns a message's descriptor into a function that writes parsed JSON into a
message. `bytes` fields with the option `json` keep the very text that was sent: 2^53+1 and 1.10 stay what they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec
import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from fastcms_common.errors import FieldError, Malformed
from gateway import fields
from gateway.scalars import Reader, Wrong, json_reader, text_reader

MAX_DEPTH: Final = 32

Errors = list[FieldError]
Raw = Any
"""The text of a JSON value (bytes-like), where a json field below needs it; None elsewhere."""
Filler = Callable[[Message, Any, Raw, str, Errors], None]
"""Writes a parsed value with its text and path into a message; appends to the errors what is wrong with it."""
Setter = Callable[[Message, Any, Raw, str, Errors], None]
"""The same for one field; the path is that of the message it belongs to."""

_RAW_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAW_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_NO_RAWS: Final[Mapping[str, Raw]] = {}


def parse(text: bytes) -> Any:
    """A JSON text (RFC 8259), at most MAX_DEPTH deep and without a repeated key. Raises Malformed."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"The body is not JSON: {error}.", reason="MALFORMED_JSON") from None
    if type(value) is not dict and type(value) is not list:
        return value
    strings = _strings(value, 1)
    # A repeated key is a pair of quotes that the parsed value lacks. Escaped quotes would spoil the count.
    if text.count(b'"') != 2 * strings:
        if b"\\" not in text:
            raise Malformed("The body has the same key twice in one object.", reason="MALFORMED_JSON")
        json.loads(text, object_pairs_hook=_without_repeats)
    return value


def _strings(value: Any, depth: int) -> int:
    """How many strings, keys included, an object or list holds. Raises Malformed past MAX_DEPTH."""
    if depth > MAX_DEPTH:
        raise Malformed(f"The body is nested deeper than {MAX_DEPTH} levels.", reason="MALFORMED_JSON")
    count = 0
    if type(value) is dict:
        count = len(value)
        value = value.values()
    for item in value:
        kind = type(item)
        if kind is str:
            count += 1
        elif kind is dict or kind is list:
            count += _strings(item, depth + 1)
    return count


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("The body has the same key twice in one object.", reason="MALFORMED_JSON")
    return found


def join(path: str, key: str) -> str:
    """The path of a member of the object at `path`. An empty key is shown with its quotes."""
    key = key or '""'
    return f"{path}.{key}" if path else key


def compile_filler(message: Descriptor, excluded: Collection[str] = ()) -> Filler:
    """What fills a message of this type from a JSON object; the fields named in `excluded` are unknown to it."""
    return _Compiler().filler(message, excluded)


def holds_json(message: Descriptor) -> bool:
    """Whether a message has a json field, at whatever depth: then its filler wants the text beside the value."""
    seen: set[str] = set()

    def look(current: Descriptor) -> bool:
        if current.full_name in seen:
            return False
        seen.add(current.full_name)
        return any(
            fields.is_json(field) or (field.message_type is not None and look(field.message_type))
            for field in current.fields
        )

    return look(message)


class _Compiler:
    def __init__(self) -> None:
        self._fillers: dict[str, Filler] = {}

    def filler(self, message: Descriptor, excluded: Collection[str] = ()) -> Filler:
        if not excluded and message.full_name in self._fillers:
            return self._fillers[message.full_name]
        setters: dict[str, Setter] = {}
        fill = _filler(setters, fields.list_field(message), holds_json(message))
        if not excluded:
            # Before its fields are compiled: a message may hold itself.
            self._fillers[message.full_name] = fill
        for name, key in fields.json_names(message).items():
            field = message.fields_by_name[name]
            if name not in excluded and not fields.option(field).header:
                setters[key] = self._setter(field, key)
        return fill

    def _setter(self, field: FieldDescriptor, key: str) -> Setter:
        if fields.is_map(field):
            return self._map_setter(field, fields.message_of(field), key)
        if field.is_repeated:
            return self._list_setter(field, key)
        if fields.is_json(field):
            setter = _json_setter(field.name)
        elif (read := json_reader(field)) is None:
            setter = _message_setter(field.name, key, self.filler(fields.message_of(field)))
        elif field.message_type is not None:
            setter = _copying_setter(field.name, key, read)
        else:
            setter = _scalar_setter(field.name, key, read)
        oneof = field.containing_oneof
        if oneof is not None and len(oneof.fields) > 1:
            return _one_of(oneof.name, key, setter)
        return setter

    def _list_setter(self, field: FieldDescriptor, key: str) -> Setter:
        if fields.is_json(field):
            return _json_list_setter(field.name, key)
        read = json_reader(field)
        if read is not None:
            return _value_list_setter(field.name, key, read)
        message = fields.message_of(field)
        return _message_list_setter(field.name, key, self.filler(message), holds_json(message))

    def _map_setter(self, field: FieldDescriptor, entry: Descriptor, key: str) -> Setter:
        read_key = text_reader(entry.fields_by_name["key"])
        value = entry.fields_by_name["value"]
        read_value = json_reader(value)
        if read_key is None or read_value is None or value.message_type is not None or fields.is_json(value):
            raise ValueError(f"{field.full_name}: only maps to single values are carried")
        return _map_setter(field.name, key, read_key, read_value)


def _filler(setters: Mapping[str, Setter], list_field: str, wants_raw: bool) -> Filler:
    def fill(message: Message, value: Any, raw: Raw, path: str, errors: Errors) -> None:
        if type(value) is list and list_field:
            setters[list_field](message, value, raw, path, errors)
            return
        if type(value) is not dict:
            expected = "Must be an object or a list." if list_field else "Must be an object."
            errors.append(FieldError(path or "body", expected))
            return
        raws = _RAW_OBJECT.decode(raw) if wants_raw else _NO_RAWS
        for key, item in value.items():
            setter = setters.get(key)
            if setter is None:
                errors.append(FieldError(join(path, key), "Is not a known field."))
            else:
                setter(message, item, raws.get(key), path, errors)

    return fill


def _scalar_setter(name: str, key: str, read: Reader) -> Setter:
    def set_scalar(message: Message, value: Any, raw: Raw, path: str, errors: Errors) -> None:
        if value is None:
            return
        try:
            setattr(message, name, read(value))
        except Wrong as wrong:
            errors.append(FieldError(join(path, key), str(wrong)))

    return set_scalar


def _copying_setter(name: str, key: str, read: Reader) -> Setter:
    def set_copy(message: Message, value: Any, raw: Raw, path: str, errors: Errors) -> None:
        if value is None:
            return
        try:
            getattr(message, name).CopyFrom(read(value))
        except Wrong as wrong:
            errors.append(FieldError(join(path, key), str(wrong)))

    return set_copy


def _json_setter(name: str) -> Setter:
    def set_json(message: Message, value: Any, raw: Raw, path: str, errors: Errors) -> None:
        if value is not None:
            setattr(message, name, bytes(raw))

    return set_json


def _message_setter(name: str, key: str, fill: Filler) -> Setter:
    def set_message(message: Message, value: Any, raw: Raw, path: str, errors: Errors) -> None:
        if value is None:
            return
        part = getattr(message, name)
        part.SetInParent()
        fill(part, value, raw, join(path, key), errors)

    return set_message


def _one_of(oneof: str, key: str, setter: Setter) -> Setter:
    def set_once(message: Message, value: Any, raw: Raw, path: str, errors: Errors) -> None:
        if value is None:
            return
        taken = message.WhichOneof(oneof)
        if taken is None:
            setter(message, value, raw, path, errors)
        else:
            errors.append(FieldError(join(path, key), f"Cannot be given together with {taken}."))

    return set_once


def _value_list_setter(name: str, key: str, read: Reader) -> Setter:
    def set_list(message: Message, value: Any, raw: Raw, path: str, errors: Errors) -> None:
        if value is None:
            return
        if type(value) is not list:
            errors.append(FieldError(join(path, key), "Must be a list."))
            return
        values = []
        for index, item in enumerate(value):
            try:
                values.append(read(item))
            except Wrong as wrong:
                errors.append(FieldError(f"{join(path, key)}[{index}]", str(wrong)))
        getattr(message, name).extend(values)

    return set_list


def _json_list_setter(name: str, key: str) -> Setter:
    def set_list(message: Message, value: Any, raw: Raw, path: str, errors: Errors) -> None:
        if value is None:
            return
        if type(value) is not list:
            errors.append(FieldError(join(path, key), "Must be a list."))
            return
        getattr(message, name).extend([bytes(item) for item in _RAW_LIST.decode(raw)])

    return set_list


def _message_list_setter(name: str, key: str, fill: Filler, wants_raw: bool) -> Setter:
    def set_list(message: Message, value: Any, raw: Raw, path: str, errors: Errors) -> None:
        if value is None:
            return
        if type(value) is not list:
            errors.append(FieldError(join(path, key), "Must be a list."))
            return
        parts = getattr(message, name)
        raws = _RAW_LIST.decode(raw) if wants_raw else [None] * len(value)
        for index, item in enumerate(value):
            fill(parts.add(), item, raws[index], f"{join(path, key)}[{index}]", errors)

    return set_list


def _map_setter(name: str, key: str, read_key: Reader, read_value: Reader) -> Setter:
    def set_map(message: Message, value: Any, raw: Raw, path: str, errors: Errors) -> None:
        if value is None:
            return
        if type(value) is not dict:
            errors.append(FieldError(join(path, key), "Must be an object."))
            return
        entries = getattr(message, name)
        for entry, item in value.items():
            try:
                entries[read_key(entry)] = read_value(item)
            except Wrong as wrong:
                errors.append(FieldError(join(join(path, key), entry), str(wrong)))

    return set_map
