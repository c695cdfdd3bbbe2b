"""Definitions of fields as they are sent, checked and made into fields. Every mistake is found, not only the first."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from collections_service.decoding import decode
from collections_service.models import AUTH_FIELDS, SYSTEM_FIELDS, FieldDefinition, FieldType, OnDelete
from collections_service.validation import rule_of
from collections_service.values import BadValue, pattern
from fastcms_common.errors import FieldError, Malformed

FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
# Words of the language, and keys that stand beside a record's fields.
RESERVED = frozenset({"true", "false", "null", "expand", "data", *(field.name for field in SYSTEM_FIELDS)})
# What stands beside the fields in the body of a registration, and what a member must never seem to have of their own.
AUTH_RESERVED = frozenset(
    {
        *(field.name for field in AUTH_FIELDS),
        *("password", "password_confirm", "password_hash", "new_password", "current_password", "old_password"),
        *("role", "superadmin", "disabled", "token", "token_key", "refresh_token", "access_token", "mfa_code"),
        *("mfa_enabled", "collection", "collection_id"),
    }
)
MAX_SELECT = 1000

# The settings beyond name, type, required and hidden that each type has.
_TEXTS = frozenset({"min_length", "max_length", "pattern", "unique", "default"})
APPLICABLE: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("text", "editor", "email", "url"), _TEXTS),
    "number": frozenset({"min", "max", "unique", "default"}),
    "bool": frozenset({"default"}),
    **dict.fromkeys(("date", "datetime"), frozenset({"unique", "default"})),
    "select": frozenset({"values", "max_select", "unique", "default"}),
    "relation": frozenset({"collection", "max_select", "on_delete", "unique", "default"}),
    "json": frozenset({"default"}),
    "geopoint": frozenset({"default"}),
    "autodate": frozenset({"on_create", "on_update"}),
}


@dataclass(frozen=True, slots=True)
class FieldDraft:
    """A field as it was sent: None where nothing was. `default` is JSON text, `collection` a name or id."""

    name: str
    type: str
    id: str | None = None
    required: bool = False
    unique: bool = False
    hidden: bool = False
    min: float | None = None
    max: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    values: tuple[str, ...] = ()
    default: bytes | None = None
    max_select: int | None = None
    collection: str | None = None
    on_delete: str | None = None
    on_create: bool | None = None
    on_update: bool | None = None


def define(
    drafts: Sequence[FieldDraft],
    existing: Sequence[FieldDefinition],
    type: Literal["base", "auth"],
    target: Callable[[str], str | None],
    errors: list[FieldError],
) -> tuple[FieldDefinition, ...]:
    """The fields that the drafts describe; mistakes are added to `errors`.

    A draft is that existing field of which it brings the id, else that of the same name and type, else a new one.
    `target` gives the id of the collection that a relation names.
    """
    by_id = {field.id: field for field in existing}
    by_name = {field.name: field for field in existing}
    claimed = {draft.id for draft in drafts if draft.id}
    names: set[str] = set()
    ids: set[str] = set()
    defined = []
    for index, draft in enumerate(drafts):
        at = f"schema.fields[{index}]"
        _check_name(draft.name, at, type, names, errors)
        names.add(draft.name)
        before = by_id.get(draft.id or "") if draft.id else by_name.get(draft.name)
        if draft.id and (before is None or draft.id in ids):
            errors.append(
                FieldError(f"{at}.id", "is given twice" if draft.id in ids else "is no field of this collection")
            )
            continue
        ids.add(draft.id or "")
        if before is not None and not draft.id and (before.id in claimed or before.type != draft.type):
            # Another draft has renamed that field away, or the name is given to a field of another type.
            before = None
        field = _field(draft, before, at, target, errors)
        if field is not None:
            defined.append(field)
    return tuple(defined)


def _check_name(name: str, at: str, type: str, names: set[str], errors: list[FieldError]) -> None:
    if FIELD_NAME.fullmatch(name) is None:
        message = "must start with a letter and have only letters, digits and _, at most 63"
        errors.append(FieldError(f"{at}.name", message))
    elif name in RESERVED or (type == "auth" and name in AUTH_RESERVED):
        errors.append(FieldError(f"{at}.name", f"'{name}' is reserved"))
    elif name in names:
        errors.append(FieldError(f"{at}.name", f"'{name}' is given twice"))


def _field(
    draft: FieldDraft,
    before: FieldDefinition | None,
    at: str,
    target: Callable[[str], str | None],
    errors: list[FieldError],
) -> FieldDefinition | None:
    found: list[FieldError] = []

    def wrong(name: str, message: str) -> None:
        found.append(FieldError(f"{at}.{name}", message))

    _check_applicable(draft, wrong)
    _check_bounds(draft, wrong)
    _check_select(draft, wrong)
    points_to = _check_relation(draft, target, wrong)
    field = FieldDefinition(
        id=before.id if before else "f" + secrets.token_hex(6),
        name=draft.name,
        type=cast(FieldType, draft.type),
        required=draft.required,
        unique=draft.unique,
        hidden=draft.hidden,
        min=draft.min,
        max=draft.max,
        min_length=draft.min_length,
        max_length=draft.max_length,
        pattern=draft.pattern or None,
        values=draft.values,
        max_select=draft.max_select,
        collection=points_to,
        on_delete=cast(
            OnDelete, draft.on_delete or ("set_null" if draft.type == "relation" and not draft.required else "restrict")
        ),
        on_create=draft.on_create is not False,
        on_update=bool(draft.on_update),
        promised=before.promised if before else True,
    )
    _check_together(field, before, wrong)
    if not found and draft.default:
        field = _with_default(field, draft.default, wrong)
    errors.extend(found)
    return None if found else field


def _check_applicable(draft: FieldDraft, wrong: Callable[[str, str], None]) -> None:
    applicable = APPLICABLE[draft.type]
    given = {
        "unique": draft.unique,
        "min": draft.min is not None,
        "max": draft.max is not None,
        "min_length": draft.min_length is not None,
        "max_length": draft.max_length is not None,
        "pattern": bool(draft.pattern),
        "values": bool(draft.values),
        "default": bool(draft.default) and draft.default != b"null",
        "max_select": draft.max_select is not None,
        "collection": bool(draft.collection),
        "on_delete": bool(draft.on_delete),
        "on_create": draft.on_create is not None,
        "on_update": draft.on_update is not None,
    }
    for name, is_given in given.items():
        if is_given and name not in applicable:
            wrong(name, f"a field of type {draft.type} has no {name}")
    if draft.type == "autodate" and draft.required:
        wrong("required", "an autodate is set by the server")


def _check_bounds(draft: FieldDraft, wrong: Callable[[str, str], None]) -> None:
    for name, bound in (("min", draft.min), ("max", draft.max)):
        if bound is not None and not math.isfinite(bound):
            wrong(name, "must be a finite number")
    if draft.min is not None and draft.max is not None and draft.min > draft.max:
        wrong("min", "must not be above max")
    for name, length in (("min_length", draft.min_length), ("max_length", draft.max_length)):
        if length is not None and not 0 <= length <= 2**31:
            wrong(name, "must be from 0 to 2147483648")
    if draft.min_length is not None and draft.max_length is not None and draft.min_length > draft.max_length:
        wrong("min_length", "must not be above max_length")
    if draft.pattern:
        try:
            pattern(draft.pattern)
        except ValueError as error:
            wrong("pattern", f"cannot be used: {error}")


def _check_select(draft: FieldDraft, wrong: Callable[[str, str], None]) -> None:
    if draft.max_select is not None and not 1 <= draft.max_select <= MAX_SELECT:
        wrong("max_select", f"must be from 1 to {MAX_SELECT}")
    if draft.type != "select":
        return
    if not draft.values:
        wrong("values", "a select has at least one value")
    if len(set(draft.values)) != len(draft.values):
        wrong("values", "must not hold a value twice")
    for index, value in enumerate(draft.values):
        if not 1 <= len(value) <= 255 or "\0" in value:
            wrong(f"values[{index}]", "must have 1 to 255 characters, none of them NUL")


def _check_relation(
    draft: FieldDraft, target: Callable[[str], str | None], wrong: Callable[[str, str], None]
) -> str | None:
    if draft.type != "relation":
        return None
    if not draft.collection:
        wrong("collection", "a relation names the collection it points to")
        return None
    found = target(draft.collection)
    if found is None:
        wrong("collection", f"there is no collection '{draft.collection}'")
    return found


def _check_together(field: FieldDefinition, before: FieldDefinition | None, wrong: Callable[[str, str], None]) -> None:
    if field.many and field.unique:
        wrong("unique", "is for fields with one value")
    if field.type == "relation" and field.required and field.on_delete == "set_null":
        wrong("on_delete", "set_null does not go with required")
    if before is not None:
        _check_same(field, before, wrong)


def _check_same(field: FieldDefinition, before: FieldDefinition, wrong: Callable[[str, str], None]) -> None:
    """What the values of existing records rest on cannot change: remove the field and add another."""
    if field.type != before.type:
        wrong("type", f"cannot change from {before.type} to {field.type}")
    elif field.many != before.many:
        wrong("max_select", "cannot change between one value and several")
    elif field.collection != before.collection:
        wrong("collection", "cannot change; add another field")


def _with_default(field: FieldDefinition, text: bytes, wrong: Callable[[str, str], None]) -> FieldDefinition:
    try:
        value = decode(text)
        if value is None:
            return field
        return replace(field, default=rule_of(field).value(value))
    except Malformed:
        wrong("default", "is not valid JSON")
    except BadValue as error:
        wrong(f"default{error.inside}", error.message)
    return field
