"""Records as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from collections_service.models import (
    CREATED,
    EMAIL_VISIBILITY,
    ID,
    REVISION,
    UPDATED,
    Collection,
    FieldDefinition,
)
from fastcms_common.context import Caller
from fastcms_common.errors import FieldError, Invalid
from fastcms_common.storage import Document

_TIMES = (CREATED, UPDATED)


@dataclass(frozen=True, slots=True)
class View:
    """Which parts of a collection's records one caller sees. `times` and `fields` are what the caller asked for."""

    collection: Collection
    caller: Caller | None
    sees_all: bool
    times: tuple[str, ...]
    fields: tuple[FieldDefinition, ...]

    def shown(self, doc: Document, expand: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The record as JSON has it; values that it has not are null."""
        get = doc.get
        data = {field.name: get(field.id) for field in self.fields}
        if self.collection.type == "auth" and "email" in data and not self._sees_email(doc):
            data["email"] = None
        return {ID: doc[ID], "data": data, **{name: doc[name] for name in self.times}, "expand": expand}

    def _sees_email(self, doc: Document) -> bool:
        if self.sees_all or doc.get(EMAIL_VISIBILITY.id) is True:
            return True
        caller = self.caller
        return caller is not None and caller.realm == self.collection.id and caller.id == doc[ID]

    def etag(self, doc: Document) -> str:
        """A strong ETag: one for each state of the record, version of the schema and kind of viewer."""
        own = self.caller is not None and self.caller.id == doc[ID]
        viewer = "a" if self.sees_all else "o" if own else "u"
        return f'"{doc[REVISION]}.{self.collection.version}{viewer}"'


def view(collection: Collection, caller: Caller | None, sees_all: bool, fields: str = "") -> View:
    """What the caller sees, narrowed down to `fields` (names, comma-separated). Invalid naming an unknown one."""
    visible = collection.data_fields if sees_all else collection.shown_fields
    if not fields or not fields.strip():
        return View(collection, caller, sees_all, _TIMES, visible)
    by_name = {field.name: field for field in visible}
    asked = [name.strip() for name in fields.split(",")]
    errors = []
    wanted = set()
    for name in asked:
        plain = name.removeprefix("data.")
        if plain in by_name or (name in (ID, *_TIMES, "data", "expand")):
            wanted.add(plain)
        else:
            errors.append(FieldError("fields", f"there is no field '{name[:100]}'"))
    if errors:
        raise Invalid(errors)
    chosen = visible if "data" in wanted else tuple(field for field in visible if field.name in wanted)
    return View(collection, caller, sees_all, tuple(name for name in _TIMES if name in wanted), chosen)


def to_json(value: Any) -> bytes:
    """JSON, whole numbers exact, times and texts as they are stored."""
    return orjson.dumps(value)
