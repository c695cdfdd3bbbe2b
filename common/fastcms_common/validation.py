"""Checks of a request message that its proto already tells: required, length, bounds, allowed values.

Compiled once for each message type. Rules that need more than the field itself belong to the service.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from fastcms.common.v1 import options_pb2
from fastcms_common.errors import FieldError, Invalid

_Check = Callable[[Any, str, list[FieldError]], None]

REQUIRED_MESSAGE = "This field is required."


def validate(message: Message) -> None:
    """Raises Invalid, naming every field of `message` that breaks an option of its proto."""
    checks = _checks(message.DESCRIPTOR)
    if checks:
        problems: list[FieldError] = []
        for check in checks:
            check(message, "", problems)
        if problems:
            raise Invalid(problems)


@cache
def _checks(descriptor: Descriptor) -> tuple[_Check, ...]:
    return tuple(check for field in descriptor.fields for check in _field_checks(field))


def _field_checks(field: FieldDescriptor) -> list[_Check]:
    options = field.GetOptions().Extensions[options_pb2.field]
    required = field_behavior_pb2.REQUIRED in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    checks: list[_Check] = []
    if required:
        checks.append(_required(field.name, field.has_presence))
    if options.max_length:
        checks.append(_length(field.name, options.max_length, field.is_repeated))
    if options.max_item_length:
        checks.append(_item_length(field.name, options.max_item_length))
    if options.HasField("minimum") or options.HasField("maximum"):
        checks.append(_bounds(field, options))
    if options.values:
        checks.append(_values(field, tuple(options.values), required))
    kind = field.message_type
    if kind is not None and kind.file.package.startswith("fastcms.") and not kind.GetOptions().map_entry:
        checks.append(_nested(field))
    return checks


def _required(name: str, presence: bool) -> _Check:
    def check(message: Any, path: str, problems: list[FieldError]) -> None:
        if not (message.HasField(name) if presence else getattr(message, name)):
            problems.append(FieldError(path + name, REQUIRED_MESSAGE))

    return check


def _length(name: str, limit: int, repeated: bool) -> _Check:
    noun = "elements" if repeated else "characters"

    def check(message: Any, path: str, problems: list[FieldError]) -> None:
        if len(getattr(message, name)) > limit:
            problems.append(FieldError(path + name, f"Must have at most {limit} {noun}."))

    return check


def _item_length(name: str, limit: int) -> _Check:
    def check(message: Any, path: str, problems: list[FieldError]) -> None:
        for index, item in enumerate(getattr(message, name)):
            if len(item) > limit:
                problems.append(FieldError(f"{path}{name}[{index}]", f"Must have at most {limit} characters."))

    return check


def _bounds(field: FieldDescriptor, options: Any) -> _Check:
    name, presence = field.name, field.has_presence
    low = options.minimum if options.HasField("minimum") else None
    high = options.maximum if options.HasField("maximum") else None
    if low is not None and high is not None:
        sentence = f"Must be between {low} and {high}."
    else:
        sentence = f"Must be at least {low}." if high is None else f"Must be at most {high}."

    def check(message: Any, path: str, problems: list[FieldError]) -> None:
        if presence and not message.HasField(name):
            return
        value = getattr(message, name)
        if (low is not None and value < low) or (high is not None and value > high):
            problems.append(FieldError(path + name, sentence))

    return check


def _values(field: FieldDescriptor, allowed: tuple[str, ...], required: bool) -> _Check:
    name, presence, repeated = field.name, field.has_presence, field.is_repeated
    sentence = f"Must be one of: {', '.join(allowed)}."

    def check(message: Any, path: str, problems: list[FieldError]) -> None:
        value = getattr(message, name)
        if repeated:
            good = all(one in allowed for one in value)
        elif presence:
            good = not message.HasField(name) or value in allowed
        else:
            # Empty is absent; that it must not be is `required`'s to say.
            good = not value or value in allowed
        if not good:
            problems.append(FieldError(path + name, sentence))

    return check


def _nested(field: FieldDescriptor) -> _Check:
    name, repeated, kind = field.name, field.is_repeated, field.message_type

    def check(message: Any, path: str, problems: list[FieldError]) -> None:
        if repeated:
            for index, one in enumerate(getattr(message, name)):
                for inner in _checks(kind):
                    inner(one, f"{path}{name}[{index}].", problems)
        elif message.HasField(name):
            for inner in _checks(kind):
                inner(getattr(message, name), f"{path}{name}.", problems)

    return check
