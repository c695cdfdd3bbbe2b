"""A collection as it is sent, checked as a whole: name, options, rules, indexes, and its fields (`definitions`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from collections_service.catalog import Snapshot
from collections_service.decoding import decode
from collections_service.definitions import FieldDraft, define
from collections_service.models import RULES, Collection, IndexDefinition, RuleName
from collections_service.rules.errors import ExpressionError, explain
from collections_service.rules.parser import parse
from collections_service.rules.types import Scope, check
from collections_service.values import BadValue, json_value
from fastcms_common.errors import FieldError, Invalid, Malformed

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
# Words that stand in the place of a collection's id or name in a path.
RESERVED_NAMES = frozenset({"name", "records", "auth", "import", "export", "explain", "batch", "truncate"})
MAX_INDEXES = 20
MAX_INDEX_FIELDS = 8
_AUTH_SWITCHES = ("password_auth_enabled", "otp_enabled", "oauth_enabled", "mfa_enabled")


@dataclass(frozen=True, slots=True)
class CollectionDraft:
    """What a request says; absent (None) means: as it is. `rules` holds those that were given, null ones as None."""

    name: str | None = None
    fields: Sequence[FieldDraft] | None = None
    options: bytes | None = None
    rules: Mapping[RuleName, str | None] = field(default_factory=dict)
    indexes: Sequence[IndexDefinition] | None = None


def apply(draft: CollectionDraft, before: Collection, snapshot: Snapshot, updated: str) -> Collection:
    """The collection `before` as the draft would have it, one version further. Invalid, naming every mistake."""
    errors: list[FieldError] = []
    name = before.name if draft.name is None else draft.name
    _check_name(name, errors)

    def target(named: str) -> str | None:
        # A collection may point to itself, under the name that it is about to get.
        if named in (name, before.id):
            return before.id
        found = snapshot.named(named) or snapshot.with_id(named)
        return found.id if found is not None else None

    fields = before.fields
    if draft.fields is not None:
        fields = define(draft.fields, before.fields, before.type, target, errors)
    collection = before.with_changes(
        name=name,
        fields=fields,
        options=before.options if draft.options is None else _options(draft.options, before.type, errors),
        rules={**before.rules, **draft.rules},
        indexes=before.indexes if draft.indexes is None else tuple(draft.indexes),
        updated=updated,
        version=before.version + 1,
    )
    if errors:
        # Rules and indexes speak of fields, which are not known while some of them are wrong.
        raise Invalid(errors)
    if draft.indexes is None:
        collection = collection.with_changes(indexes=_renamed(before, collection))
    collection = collection.with_changes(indexes=_check_indexes(collection, errors))
    _check_identity_field(collection, errors)
    rule_errors = check_rules(collection, snapshot.with_collection(collection))
    if errors or rule_errors:
        reason = "RULE_INVALID" if rule_errors and not errors else None
        raise Invalid([*errors, *rule_errors], reason=reason)
    return collection


def _check_name(name: str, errors: list[FieldError]) -> None:
    if NAME.fullmatch(name) is None:
        message = "must start with a lower-case letter and have only lower-case letters, digits and _, at most 63"
        errors.append(FieldError("name", message))
    elif name in RESERVED_NAMES:
        errors.append(FieldError("name", f"'{name}' is reserved"))


def check_rules(collection: Collection, snapshot: Snapshot) -> list[FieldError]:
    """What is wrong with the rules of a collection, each with its place in the expression."""
    errors = []
    for rule in RULES:
        text = collection.rules.get(rule)
        if not text:
            continue
        try:
            check(parse(text), Scope(collection, snapshot, rule))
        except ExpressionError as error:
            errors.append(FieldError(f"{rule}_rule", explain(text, error)))
    return errors


def _options(text: bytes, type: Literal["base", "auth"], errors: list[FieldError]) -> Mapping[str, Any]:
    try:
        options = json_value(decode(text)) if text else {}
    except (Malformed, BadValue):
        options = None
    if options is None and text.strip() == b"null":
        return {}
    if not isinstance(options, dict):
        errors.append(FieldError("options", "must be an object"))
        return {}
    errors.extend(
        FieldError(f"options.{name}", "is not known here") for name in options if name != "auth" or type != "auth"
    )
    if type == "auth" and "auth" in options:
        _check_auth_options(options["auth"], errors)
    return options


def _check_auth_options(auth: Any, errors: list[FieldError]) -> None:
    if not isinstance(auth, dict):
        errors.append(FieldError("options.auth", "must be an object"))
        return
    for name, value in auth.items():
        if name in _AUTH_SWITCHES:
            if value is not None and not isinstance(value, bool):
                errors.append(FieldError(f"options.auth.{name}", "must be true or false"))
        elif name == "identity_field":
            if value is not None and not isinstance(value, str):
                errors.append(FieldError(f"options.auth.{name}", "must be the name of a field"))
        else:
            errors.append(FieldError(f"options.auth.{name}", "is not known here"))


def _check_identity_field(collection: Collection, errors: list[FieldError]) -> None:
    auth = collection.options.get("auth") or {}
    name = auth.get("identity_field")
    if name is None or name == "email":
        return
    field = collection.by_name.get(name)
    if field is None or field.system or field.type not in ("text", "email") or not (field.unique and field.required):
        message = "must be email, or a text field that is required and unique"
        errors.append(FieldError("options.auth.identity_field", message))


def _renamed(before: Collection, after: Collection) -> tuple[IndexDefinition, ...]:
    """The indexes under the names that their fields have now; those of removed fields go with them."""
    names = {field.id: field.name for field in (*after.system_fields, *after.fields)}
    renamed = []
    for index in before.indexes:
        keys = [
            (name[: len(name) - len(name.removeprefix("-"))], before.by_name[name.removeprefix("-")].id)
            for name in index.fields
        ]
        if all(key in names for _, key in keys):
            renamed.append(IndexDefinition(index.name, tuple(sign + names[key] for sign, key in keys), index.unique))
    return tuple(renamed)


def _check_indexes(collection: Collection, errors: list[FieldError]) -> tuple[IndexDefinition, ...]:
    """The indexes, each with a name; mistakes are added to `errors`."""
    named = []
    names: set[str] = set()
    if len(collection.indexes) > MAX_INDEXES:
        errors.append(FieldError("indexes", f"must be at most {MAX_INDEXES}"))
    for position, index in enumerate(collection.indexes):
        at = f"indexes[{position}]"
        name = index.name or "idx_" + "_".join(field.removeprefix("-") for field in index.fields).lower()[:59]
        if NAME.fullmatch(name) is None:
            errors.append(FieldError(f"{at}.name", "must have only lower-case letters, digits and _, at most 63"))
        elif name in names:
            errors.append(FieldError(f"{at}.name", f"'{name}' is given twice"))
        names.add(name)
        _check_index_fields(collection, index, at, errors)
        named.append(IndexDefinition(name, index.fields, index.unique))
    return tuple(named)


def _check_index_fields(collection: Collection, index: IndexDefinition, at: str, errors: list[FieldError]) -> None:
    if not 1 <= len(index.fields) <= MAX_INDEX_FIELDS:
        errors.append(FieldError(f"{at}.fields", f"must be 1 to {MAX_INDEX_FIELDS} field names"))
    plain = [name.removeprefix("-") for name in index.fields]
    for number, name in enumerate(plain):
        field = collection.by_name.get(name)
        if field is None:
            errors.append(FieldError(f"{at}.fields[{number}]", f"there is no field '{name}'"))
        elif not field.scalar:
            errors.append(FieldError(f"{at}.fields[{number}]", "an index is over fields with one plain value"))
        elif name in plain[:number]:
            errors.append(FieldError(f"{at}.fields[{number}]", "is given twice"))
