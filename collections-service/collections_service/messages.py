"""Messages to what the rules work on, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from collections_service.catalog import Snapshot
from collections_service.definitions import FieldDraft
from collections_service.drafts import CollectionDraft
from collections_service.models import RULES, Collection, FieldDefinition, IndexDefinition, RuleName
from fastcms.collections.v1 import collections_pb2 as pb
from fastcms_common import times
from fastcms_common.errors import Invalid

_OPTIONAL = (
    *("id", "min", "max", "min_length", "max_length", "pattern"),
    *("max_select", "collection", "on_delete", "on_create", "on_update"),
)


def create_draft(request: pb.CreateCollectionRequest) -> CollectionDraft:
    """What a create says. Rules that it does not name are null: admins only."""
    return CollectionDraft(
        name=request.name,
        fields=_fields(request.schema) if request.HasField("schema") else (),
        options=request.options or b"{}",
        rules={rule: _rule(request, rule) for rule in RULES},
        indexes=_indexes(request.indexes),
    )


def change_draft(request: pb.UpdateCollectionRequest) -> CollectionDraft:
    """What a change says. With a mask what it names counts, without one what is there. Invalid for a schema of null:
    an empty one takes all fields away, and has to be said as such."""
    named = set(request.update_mask.paths) if request.HasField("update_mask") else None

    def given(name: str, there: bool) -> bool:
        return there if named is None else name in named

    if given("schema", False) and not request.HasField("schema"):
        raise Invalid.field("schema", "must be a list of fields, or an object with one")
    rules: dict[RuleName, str | None] = {
        rule: _rule(request, rule)
        for rule in RULES
        if given(f"{rule}_rule", request.HasField(f"{rule}_rule"))  # type: ignore[arg-type]
    }
    return CollectionDraft(
        name=request.name if given("name", request.HasField("name")) else None,
        fields=_fields(request.schema) if given("schema", request.HasField("schema")) else None,
        options=(request.options or b"{}") if given("options", bool(request.options)) else None,
        rules=rules,
        indexes=_indexes(request.indexes) if given("indexes", bool(request.indexes)) else None,
    )


def _rule(request: pb.CreateCollectionRequest | pb.UpdateCollectionRequest, rule: RuleName) -> str | None:
    name: Any = f"{rule}_rule"
    if not request.HasField(name):
        return None
    text: str = getattr(request, name)
    # Blanks alone are no rule: they must not become the empty one, which lets anybody in.
    return text.strip() or text


def _fields(schema: pb.Schema) -> tuple[FieldDraft, ...]:
    return tuple(_field(field) for field in schema.fields)


def _field(message: pb.SchemaField) -> FieldDraft:
    optional: dict[str, Any] = {name: getattr(message, name) for name in _OPTIONAL if message.HasField(name)}  # type: ignore[arg-type]
    return FieldDraft(
        name=message.name,
        type=message.type,
        required=message.required,
        unique=message.unique,
        hidden=message.hidden,
        values=tuple(message.values),
        default=message.default or None,
        **optional,
    )


def _indexes(messages: Iterable[pb.CollectionIndex]) -> tuple[IndexDefinition, ...]:
    return tuple(IndexDefinition(message.name, tuple(message.fields), message.unique) for message in messages)


def collection_message(collection: Collection, snapshot: Snapshot) -> pb.Collection:
    """A collection as the API shows it."""
    rules: dict[str, Any] = {f"{rule}_rule": text for rule, text in collection.rules.items() if text is not None}
    return pb.Collection(
        id=collection.id,
        name=collection.name,
        type=collection.type,
        schema=pb.Schema(fields=[_field_message(field, collection, snapshot) for field in collection.fields]),
        options=orjson.dumps(collection.options),
        indexes=[
            pb.CollectionIndex(name=index.name, fields=index.fields, unique=index.unique)
            for index in collection.indexes
        ],
        created=timestamp(collection.created),
        updated=timestamp(collection.updated),
        **rules,
    )


def _field_message(field: FieldDefinition, home: Collection, snapshot: Snapshot) -> pb.SchemaField:
    message = pb.SchemaField(
        id=field.id,
        name=field.name,
        type=field.type,
        required=field.required,
        unique=field.unique,
        hidden=field.hidden,
        min=field.min,
        max=field.max,
        min_length=field.min_length,
        max_length=field.max_length,
        pattern=field.pattern,
        values=field.values,
        default=b"" if field.default is None else orjson.dumps(field.default),
        max_select=field.max_select,
    )
    if field.type == "relation":
        target = home if field.collection == home.id else snapshot.with_id(field.collection or "")
        message.collection = target.name if target is not None else field.collection or ""
        message.on_delete = field.on_delete
    if field.type == "autodate":
        message.on_create, message.on_update = field.on_create, field.on_update
    return message


def timestamp(text: str) -> Timestamp:
    """Canonical text as a Timestamp."""
    message = Timestamp()
    message.FromDatetime(times.from_text(text))
    return message
