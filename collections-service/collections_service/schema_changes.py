"""What a change of a schema does to existing records: refused where they break it, filled where it says how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from collections_service.models import Collection, FieldDefinition
from collections_service.store import CollectionStore
from collections_service.validation import FieldRule, rule_of
from collections_service.values import BadValue
from fastcms_common.errors import Conflict, FieldError
from fastcms_common.storage import Change, Not, Or, is_null

_REASON = "RECORDS_BREAK_IT"
# What loosens or does not concern a single value; a change of anything else is held against every record.
_HARMLESS = ("name", "hidden", "default", "on_delete", "on_create", "on_update", "unique", "required")


async def check_records(store: CollectionStore, before: Collection, after: Collection) -> None:
    """Conflict, saying for each field how many records break its new definition."""
    errors = []
    for field in _required_now(before, after):
        missing = await store.count(before, is_null((field.id,)))
        if missing:
            errors.append(FieldError(_path(after, field), f"{_records(missing)} no value, and there is no default"))
    errors += await _breaking(store, before, after, _tightened(before, after))
    errors += await _duplicates(store, before, after)
    if errors:
        details = " ".join(f"{error.field}: {error.message}." for error in errors)
        raise Conflict(f"Existing records break the change. {details}", reason=_REASON, fields=errors)


def asked(before: Collection, after: Collection) -> tuple[FieldDefinition, ...]:
    """The fields for which a value, or the lack of one, that was allowed may be so no more."""
    found = (*_tightened(before, after), *_required_now(before, after))
    return tuple({field.id: field for field in found}.values())


def _required_now(before: Collection, after: Collection) -> list[FieldDefinition]:
    """The fields that need a value from now on and have none to fall back on."""
    was_required = {field.id for field in before.fields if field.required}
    return [f for f in after.fields if f.required and f.default is None and f.id not in was_required]


def _tightened(before: Collection, after: Collection) -> list[FieldDefinition]:
    """The fields that may allow less than they did."""
    old = {field.id: field for field in before.fields}
    return [field for field in after.fields if field.id in old and _differs(old[field.id], field)]


def _path(after: Collection, field: FieldDefinition) -> str:
    return f"schema.fields[{after.fields.index(field)}]"


def _records(count: int) -> str:
    return "1 record has" if count == 1 else f"{count} records have"


def _differs(was: FieldDefinition, field: FieldDefinition) -> bool:
    same = {name: getattr(was, name) for name in _HARMLESS}
    # Required also asks for more than null: a text that is not empty, a list that is not.
    return replace(field, **same) != was or (field.required and not was.required)


async def _breaking(
    store: CollectionStore, before: Collection, after: Collection, fields: list[FieldDefinition]
) -> list[FieldError]:
    if not fields:
        return []
    rules: list[FieldRule] = [rule_of(replace(field, default=None)) for field in fields]
    breaking = [0] * len(rules)
    async for doc in store.scan(before):
        for index, rule in enumerate(rules):
            value = doc.get(rule.field.id)
            if value is None:
                continue
            try:
                rule.value(value)
            except BadValue:
                breaking[index] += 1
    return [
        FieldError(_path(after, field), f"{_records(count)} a value that it does not allow")
        for field, count in zip(fields, breaking, strict=True)
        if count
    ]


async def _duplicates(store: CollectionStore, before: Collection, after: Collection) -> list[FieldError]:
    """Counts, for indexes that are unique from now on, the records that share their values with another."""
    known = {(index.paths, index.unique) for index in before.table.indexes}
    errors = []
    for index in after.table.indexes:
        if not index.unique or (index.paths, True) in known:
            continue
        keys = [path[0] for path in index.paths]
        seen: dict[tuple[object, ...], int] = {}
        async for doc in store.scan(before):
            values = tuple(doc.get(key) for key in keys)
            if None not in values:
                seen[values] = seen.get(values, 0) + 1
        shared = sum(count for count in seen.values() if count > 1)
        if shared:
            names = [field.name for field in (*after.system_fields, *after.fields) if field.id in keys]
            field = next((field for field in after.fields if [field.id] == keys and field.unique), None)
            where = _path(after, field) if field is not None else "indexes"
            errors.append(FieldError(where, f"{_records(shared)} the same {', '.join(names)} as another"))
    return errors


def filled(before: Collection, after: Collection) -> list[FieldDefinition]:
    """The fields that are required from now on and whose default goes to the records that lack a value."""
    was_required = {field.id for field in before.fields if field.required}
    return [field for field in with_defaults(after) if field.id not in was_required]


def with_defaults(collection: Collection) -> list[FieldDefinition]:
    """The required fields that have a default."""
    return [field for field in collection.fields if field.required and field.default is not None]


async def fill_defaults(store: CollectionStore, collection: Collection, fields: Sequence[FieldDefinition]) -> None:
    """Gives records without a value in these fields the default."""
    for field in fields:
        await store.update_many(collection, is_null((field.id,)), Change(set={field.id: field.default}))


async def clear_removed(store: CollectionStore, before: Collection, after: Collection) -> None:
    """Takes the values of fields that are gone out of the records."""
    kept = {field.id for field in after.fields}
    removed = [field for field in before.fields if field.id not in kept]
    if removed:
        held = Or(*(Not(is_null((field.id,))) for field in removed))
        await store.update_many(after, held, Change(unset=[(field.id,) for field in removed]))
