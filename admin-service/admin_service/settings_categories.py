"""The categories of settings: which keys they have and what these may be.

Both are said by the protos, once: the keys, types and bounds of a category are those of its update message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parseaddr
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
from email_validator import EmailNotValidError, validate_email
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from admin_service.config import Settings
from fastcms.admin.v1.settings_pb2 import (
    GeneralSettings,
    MailSettings,
    RateLimitSettings,
    UpdateGeneralSettingsRequest,
    UpdateMailSettingsRequest,
    UpdateRateLimitSettingsRequest,
)
from fastcms.auth.v1.settings_pb2 import UpdateAuthSettingsRequest
from fastcms_common.errors import FieldError, Invalid
from fastcms_common.validation import validate

Values = dict[str, Any]

_MASK = "update_mask"
_KINDS: Mapping[int, tuple[type, str]] = {
    FieldDescriptor.CPPTYPE_BOOL: (bool, "Must be true or false."),
    FieldDescriptor.CPPTYPE_INT32: (int, "Must be a whole number."),
    FieldDescriptor.CPPTYPE_STRING: (str, "Must be text."),
}

_STARTTLS = ("auto", "required", "off")
_SMTP_URL = "Must be smtp://[user:password@]host[:port] or smtps://…, user and password percent-encoded."
_SENDER = "Must be an address such as FastCMS <cms@example.com>."


@dataclass(frozen=True, slots=True)
class Category:
    """`first` is in force until an admin says otherwise; a key whose first value is None may be null. `checks` say what
    the proto cannot; `secrets` are kept sealed and never shown."""

    name: str
    first: Mapping[str, Any]
    show: Callable[[Mapping[str, Any]], Any]
    update: type[Message]
    checks: Mapping[str, Callable[[Any], str | None]] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()

    def changes_of(self, request: Any) -> Values:
        """The values that an update message sets. Invalid naming every key that cannot have its value."""
        given = {field.name: value for field, value in request.ListFields() if field.name != _MASK}
        changes: Values = {name: None for name in request.update_mask.paths if name not in given} | given
        problems = []
        for name, value in changes.items():
            if value is None and self.first[name] is not None:
                problems.append(FieldError(name, "Must have a value."))
            elif value is not None and name in self.checks and (wrong := self.checks[name](value)):
                problems.append(FieldError(name, wrong))
        if problems:
            raise Invalid(problems)
        return changes

    def parsed(self, text: bytes) -> Values:
        """The same from JSON text. Invalid naming every bad key as `category.key`."""
        message = request_of(self.name, text, self.update)
        try:
            return self.changes_of(message)
        except Invalid as error:
            raise _within(self.name, error) from None


def request_of(category: str, text: bytes, kind: type[Message]) -> Any:
    """JSON text as an update message, its mask filled as the gateway fills it. Invalid naming `category.key`."""
    given = orjson.loads(text)
    if not isinstance(given, dict):
        raise Invalid.field(category, "Must be an object.")
    message: Any = kind()
    problems = []
    for key, value in given.items():
        known = message.DESCRIPTOR.fields_by_name.get(key)
        if known is None or key == _MASK:
            problems.append(FieldError(f"{category}.{key}", "Is not a known field."))
            continue
        message.update_mask.paths.append(key)
        kind_of_value, sentence = _KINDS[known.cpp_type]
        if value is None:
            continue
        try:
            # In Python a bool is an int.
            if type(value) is not kind_of_value:
                raise ValueError(value)
            setattr(message, key, value)
        except ValueError:
            problems.append(FieldError(f"{category}.{key}", sentence))
    try:
        validate(message)
    except Invalid as error:
        problems += _within(category, error).fields
    if problems:
        raise Invalid(problems)
    return message


def _within(category: str, error: Invalid) -> Invalid:
    return Invalid([FieldError(f"{category}.{one.field}", one.message) for one in error.fields])


def categories(settings: Settings) -> dict[str, Category]:
    """All of them by name, with what the environment says first. `auth` is not ours."""
    rate_limits = {
        "enabled": settings.rate_limits_enabled,
        "credentials_per_minute": settings.rate_limit_credentials_per_minute,
        "requests_per_minute": settings.rate_limit_requests_per_minute,
    }
    return {
        "rate_limits": Category(
            "rate_limits", rate_limits, lambda values: RateLimitSettings(**values), UpdateRateLimitSettingsRequest
        ),
        "mail": Category(
            "mail",
            {"smtp_url": None, "mail_from": None},
            _show_mail,
            UpdateMailSettingsRequest,
            checks={"smtp_url": _check_smtp_url, "mail_from": _check_sender},
            secrets=frozenset({"smtp_url"}),
        ),
        "general": Category(
            "general",
            {"audit_retention_days": settings.audit_retention_days},
            lambda values: GeneralSettings(**values),
            UpdateGeneralSettingsRequest,
        ),
    }


AUTH: type[Message] = UpdateAuthSettingsRequest


def _show_mail(values: Mapping[str, Any]) -> MailSettings:
    return MailSettings(smtp_url_set=values["smtp_url"] is not None, mail_from=values["mail_from"])


def _check_smtp_url(text: str) -> str | None:
    """Everything in it has to mean something: what is left over is mostly a password that is not percent-encoded."""
    try:
        parts = urlsplit(text)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        good = (
            parts.scheme in ("smtp", "smtps")
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
            and parts.path in ("", "/")
            and not parts.fragment
            and text.isprintable()
            and " " not in text
        )
    except ValueError:
        return _SMTP_URL
    if good and (options.keys() - {"starttls"} or options.get("starttls", "auto") not in _STARTTLS):
        return f"Takes ?starttls={'|'.join(_STARTTLS)} and no other option."
    return None if good else _SMTP_URL


def _check_sender(text: str) -> str | None:
    name, address = parseaddr(text)
    try:
        validate_email(address, check_deliverability=False)
    except EmailNotValidError:
        return _SENDER
    # What is more than one address, or more than one line, was not read as a whole.
    spellings = (address, f"{name} <{address}>", f'"{name}" <{address}>')
    return None if text in spellings and text.isprintable() else _SENDER
