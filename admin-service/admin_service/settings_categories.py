"""The categories of settings: which keys they have and what these may be.

Both are said by the protos, once: the keys, types and bounds of a category are those of its update message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from admin_service.config import Settings
from fastcms.admin.v1.settings_pb2 import (
    GeneralSettings,
    RateLimitSettings,
    UpdateGeneralSettingsRequest,
    UpdateRateLimitSettingsRequest,
)
from fastcms_common.errors import FieldError, Invalid
from fastcms_common.validation import validate

Values = dict[str, Any]

_MASK = "update_mask"
_KINDS: Mapping[int, tuple[type, str]] = {
    FieldDescriptor.CPPTYPE_BOOL: (bool, "Must be true or false."),
    FieldDescriptor.CPPTYPE_INT32: (int, "Must be a whole number."),
    FieldDescriptor.CPPTYPE_STRING: (str, "Must be text."),
}


@dataclass(frozen=True, slots=True)
class Category:
    """`first` is in force until an admin says otherwise; `shown` and `update` are its messages."""

    name: str
    first: Mapping[str, Any]
    shown: type[Message]
    update: type[Message]

    def changes_of(self, request: Any) -> Values:
        """The values that an update message sets. Invalid for a key that was given without a value."""
        empty = [name for name in request.update_mask.paths if not request.HasField(name)]
        if empty:
            raise Invalid([FieldError(name, "Must have a value.") for name in empty])
        return {field.name: value for field, value in request.ListFields() if field.name != _MASK}

    def parsed(self, text: bytes) -> Values:
        """The same from JSON text. Invalid naming every bad key as `category.key`."""
        given = orjson.loads(text)
        if not isinstance(given, dict):
            raise Invalid.field(self.name, "Must be an object.")
        message = self.update()
        problems = []
        for key, value in given.items():
            field = message.DESCRIPTOR.fields_by_name.get(key)
            if field is None or key == _MASK:
                problems.append(FieldError(f"{self.name}.{key}", "Unknown field."))
                continue
            kind, sentence = _KINDS[field.cpp_type]
            try:
                # In Python a bool is an int.
                if type(value) is not kind:
                    raise ValueError(value)
                setattr(message, key, value)
            except ValueError:
                problems.append(FieldError(f"{self.name}.{key}", sentence))
        try:
            validate(message)
        except Invalid as error:
            problems += [FieldError(f"{self.name}.{field.field}", field.message) for field in error.fields]
        if problems:
            raise Invalid(problems)
        return self.changes_of(message)

    def message(self, values: Mapping[str, Any]) -> Any:
        """The values as they are shown."""
        return self.shown(**values)


def categories(settings: Settings) -> dict[str, Category]:
    """All of them by name, with what the environment says first."""
    rate_limits = {
        "enabled": settings.rate_limits_enabled,
        "credentials_per_minute": settings.rate_limit_credentials_per_minute,
        "requests_per_minute": settings.rate_limit_requests_per_minute,
    }
    general = {"audit_retention_days": settings.audit_retention_days}
    return {
        "rate_limits": Category("rate_limits", rate_limits, RateLimitSettings, UpdateRateLimitSettingsRequest),
        "general": Category("general", general, GeneralSettings, UpdateGeneralSettingsRequest),
    }
