"""What a collection is: its fields, its rules, and how both lie in storage."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

from fastcms_common.storage import Index, Table

FieldType: TypeAlias = Literal[
    "text",
    "editor",
    "number",
    "bool",
    "email",
    "url",
    "date",
    "datetime",
    "select",
    "relation",
    "json",
    "geopoint",
    "autodate",
]
OnDelete: TypeAlias = Literal["restrict", "cascade", "set_null"]
RuleName: TypeAlias = Literal["list", "view", "create", "update", "delete", "manage"]
RULES: tuple[RuleName, ...] = ("list", "view", "create", "update", "delete", "manage")

# Keys of a stored record beside those of its fields.
ID, CREATED, UPDATED, REVISION = "id", "created", "updated", "rev"


def new_revision() -> str:
    """A name for one state of a record; never given twice, so that an ETag stands for one state only."""
    return secrets.token_urlsafe(9)


@dataclass(frozen=True, slots=True)
class FieldDefinition:
    """One field of a collection.

    `id` is the key of its values in stored records and in nothing else derived from the name: renaming a field touches
    no record, and a new field of an old name finds nothing of the old values. `collection` is the id of the collection
    that a relation points to.
    """

    id: str
    name: str
    type: FieldType
    required: bool = False
    unique: bool = False
    hidden: bool = False
    min: float | None = None
    max: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    values: tuple[str, ...] = ()
    default: Any = None
    max_select: int | None = None
    collection: str | None = None
    on_delete: OnDelete = "restrict"
    on_create: bool = True
    on_update: bool = False
    # Kept by the server: not part of the schema that a client sees or sends.
    system: bool = False
    # Whether storage is promised that the values are plain ones, for which SQLite keeps a column. A promise that comes
    # late costs a copy of the table, so fields that are added to a large collection make none.
    promised: bool = True

    @property
    def many(self) -> bool:
        """Whether the field holds a list."""
        return self.type in ("select", "relation") and self.max_select is not None and self.max_select > 1

    @property
    def scalar(self) -> bool:
        """Whether the field never holds a list or an object."""
        return not self.many and self.type not in ("json", "geopoint")


SYSTEM_FIELDS: tuple[FieldDefinition, ...] = (
    FieldDefinition(ID, "id", "text", required=True, system=True),
    FieldDefinition(CREATED, "created", "datetime", required=True, system=True),
    FieldDefinition(UPDATED, "updated", "datetime", required=True, system=True),
)
# What a record of an auth collection has besides. auth-service alone writes the first two.
EMAIL = FieldDefinition("email", "email", "email", required=True, system=True)
VERIFIED = FieldDefinition("verified", "verified", "bool", system=True)
EMAIL_VISIBILITY = FieldDefinition("email_visibility", "email_visibility", "bool", default=False, system=True)
AUTH_FIELDS: tuple[FieldDefinition, ...] = (EMAIL, VERIFIED, EMAIL_VISIBILITY)


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """An index as the API shows it; a field name with a minus before it is in descending order."""

    name: str
    fields: tuple[str, ...]
    unique: bool = False


@dataclass(frozen=True)
class Collection:
    """A collection as it is stored and cached. `version` grows with every change, `generation` with every truncate that
    puts a new table in the place of the old one; `options` is JSON. `pending` are fields as a change that is not yet
    decided would have them: what is written fits these too."""

    id: str
    name: str
    type: Literal["base", "auth"]
    fields: tuple[FieldDefinition, ...]
    options: Mapping[str, Any]
    rules: Mapping[RuleName, str | None]
    indexes: tuple[IndexDefinition, ...]
    created: str
    updated: str
    version: int = 1
    generation: int = 0
    pending: tuple[FieldDefinition, ...] = ()

    @cached_property
    def table_name(self) -> str:
        name = _table_name(self.id)
        return f"{name}_{self.generation}" if self.generation else name

    @cached_property
    def system_fields(self) -> tuple[FieldDefinition, ...]:
        return SYSTEM_FIELDS + (AUTH_FIELDS if self.type == "auth" else ())

    @cached_property
    def by_name(self) -> Mapping[str, FieldDefinition]:
        """Every field that an expression may name."""
        return {field.name: field for field in (*self.system_fields, *self.fields)}

    @cached_property
    def data_fields(self) -> tuple[FieldDefinition, ...]:
        """The fields that stand in a record's `data`: of an auth collection those of every member first."""
        return (*(AUTH_FIELDS if self.type == "auth" else ()), *self.fields)

    @cached_property
    def shown_fields(self) -> tuple[FieldDefinition, ...]:
        """Those of them that are not hidden."""
        return tuple(field for field in self.data_fields if not field.hidden)

    @cached_property
    def hides(self) -> bool:
        """Whether it has hidden fields."""
        return any(field.hidden for field in self.fields)

    @cached_property
    def relations(self) -> list[FieldDefinition]:
        return [field for field in self.fields if field.type == "relation"]

    @cached_property
    def table(self) -> Table:
        """The records' table: unique and relation fields and the declared indexes."""
        wanted: dict[tuple[Any, ...], Index] = {}

        def add(index: Index) -> None:
            # One index for one list of keys; MongoDB takes no second one, and a unique one does for both.
            kept = wanted.get(index.fields)
            if kept is None or (index.unique and not kept.unique):
                wanted[index.fields] = index

        add(Index(CREATED, name="created"))
        for field in self.fields:
            if field.unique:
                add(Index([(field.id,)], unique=True, name=f"unique_{field.id}"))
            elif field.type == "relation":
                add(Index([(field.id,)], name=f"relation_{field.id}", many=field.many))
        for declared in self.indexes:
            keys = [(self.by_name[name.removeprefix("-")].id, -1 if name[0] == "-" else 1) for name in declared.fields]
            add(Index([((key,), -1 if way < 0 else 1) for key, way in keys], declared.unique, f"index_{declared.name}"))
        scalars = [(field.id,) for field in (*self.system_fields, *self.fields) if field.scalar and field.promised]
        return Table(self.table_name, tuple(wanted.values()), (*scalars, (REVISION,)))

    def with_changes(self, **changes: Any) -> Collection:
        return replace(self, **changes)


def _table_name(id: str) -> str:
    return "r_" + id.replace("-", "")


def generation_of(table: str, id: str) -> int | None:
    """Of which generation of the collection with this id the table is; None where it is another collection's."""
    own, _, generation = table[2:].partition("_")
    return int(generation or 0) if table[:2] + own == _table_name(id) else None


_FIELD_DEFAULTS = {item.name: item.default for item in fields(FieldDefinition)}


def to_document(collection: Collection) -> dict[str, Any]:
    """How a collection is stored. What a field leaves at its default is left out."""
    return {
        "id": collection.id,
        "name": collection.name,
        "type": collection.type,
        "fields": _field_documents(collection.fields),
        "options": dict(collection.options),
        "rules": dict(collection.rules),
        "indexes": [
            {"name": index.name, "fields": list(index.fields), "unique": index.unique} for index in collection.indexes
        ],
        "created": collection.created,
        "updated": collection.updated,
        "version": collection.version,
        "generation": collection.generation,
        "pending": _field_documents(collection.pending),
    }


def _field_documents(fields: Iterable[FieldDefinition]) -> list[dict[str, Any]]:
    return [
        {
            name: list(value) if isinstance(value, tuple) else value
            for name, default in _FIELD_DEFAULTS.items()
            if (value := getattr(field, name)) != default
        }
        for field in fields
    ]


def from_document(document: Mapping[str, Any]) -> Collection:
    """The collection that `to_document` stored."""
    return Collection(
        id=document["id"],
        name=document["name"],
        type=document["type"],
        fields=_fields_from(document["fields"]),
        options=document["options"],
        rules={rule: document["rules"].get(rule) for rule in RULES},
        indexes=tuple(IndexDefinition(i["name"], tuple(i["fields"]), i["unique"]) for i in document["indexes"]),
        created=document["created"],
        updated=document["updated"],
        version=document["version"],
        generation=document.get("generation", 0),
        pending=_fields_from(document.get("pending", ())),
    )


def _fields_from(documents: Iterable[Mapping[str, Any]]) -> tuple[FieldDefinition, ...]:
    return tuple(FieldDefinition(**{**item, "values": tuple(item.get("values", ()))}) for item in documents)
