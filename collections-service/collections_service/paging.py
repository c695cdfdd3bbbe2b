"""Sorting and paging: by number of page, and by cursor."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from collections_service.models import EMAIL, Collection
from collections_service.rules.bound import Hop
from collections_service.rules.types import MAX_HOPS, Schemas
from fastcms_common.errors import FieldError, Invalid
from fastcms_common.storage import After
from fastcms_common.storage.values import check_scalar

MAX_KEYS = 8


@dataclass(frozen=True, slots=True)
class Key:
    """One field to sort by; `hops` lead to the record that has it."""

    hops: tuple[Hop, ...]
    path: tuple[str, ...]
    direction: Literal[1, -1]


Order: TypeAlias = list[Key]


def order_of(collection: Collection, sort: str, schemas: Schemas, *, sees_all: bool) -> Order:
    """`-created,author.name` as keys. Invalid naming a field that cannot be sorted by."""
    keys: Order = []
    errors = []
    for item in sort.split(",") if sort.strip() else []:
        text = item.strip()
        name = text[1:] if text[:1] in ("-", "+") else text
        try:
            hops, path = _path(collection, name, schemas, sees_all)
        except _Unsortable as error:
            errors.append(FieldError("sort", str(error)))
            continue
        if any((key.hops, key.path) == (hops, path) for key in keys):
            errors.append(FieldError("sort", f"'{name}' is given twice"))
        keys.append(Key(hops, path, -1 if text.startswith("-") else 1))
    if len(keys) > MAX_KEYS:
        errors.append(FieldError("sort", f"at most {MAX_KEYS} fields"))
    if errors:
        raise Invalid(errors)
    return keys


class _Unsortable(Exception):
    """Why a name cannot be sorted by."""


def _path(
    collection: Collection, name: str, schemas: Schemas, sees_all: bool
) -> tuple[tuple[Hop, ...], tuple[str, ...]]:
    unknown = _Unsortable(f"there is no field '{name[:100]}'")
    *relations, last = name.split(".")
    if len(relations) > MAX_HOPS:
        raise _Unsortable(f"'{name[:100]}' goes along more than {MAX_HOPS} relations")
    here = collection
    hops: list[Hop] = []
    for step in relations:
        field = here.by_name.get(step)
        target = schemas.with_id(field.collection) if field is not None and field.collection else None
        if field is None or target is None or (field.hidden and not sees_all):
            raise unknown
        if field.many:
            raise _Unsortable(f"'{name}' has no order, since '{step}' points to many")
        hops.append(Hop(field, target))
        here = target
    field = here.by_name.get(last)
    # Order tells about values, so it is given by those fields only that the caller sees of every record.
    if field is None or (not sees_all and (field.hidden or field is EMAIL)):
        raise unknown
    if not field.scalar:
        raise _Unsortable(f"'{name}' has no order")
    return tuple(hops), (field.id,)


def cursor_of(position: After, collection: Collection, order: Order) -> str:
    """Where a page ended, as text for the client to hand back."""
    content = [_signature(collection, order), list(position.values), position.id]
    return base64.urlsafe_b64encode(msgspec.json.encode(content)).rstrip(b"=").decode()


def position_of(cursor: str, collection: Collection, order: Order) -> After:
    """The place that a cursor stands for. Invalid for one of another collection or order, or none at all.

    A cursor is not secret and not signed: all it can do is to name a place in an order that its holder may walk anyway.
    """
    try:
        text = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        content: Any = msgspec.json.decode(text)
        signature, values, id = content
        if signature != _signature(collection, order) or not isinstance(id, str) or len(values) != len(order):
            raise ValueError("another list")
        return After(tuple(check_scalar(value, "cursor") for value in values), str(check_scalar(id, "cursor")))
    except (ValueError, TypeError, binascii.Error, msgspec.DecodeError, RecursionError, Invalid):
        raise Invalid.field("cursor", "is no cursor of this list; it goes with the same collection and sort") from None


def _signature(collection: Collection, order: Order) -> str:
    names = [([hop.field.id for hop in key.hops], key.path, key.direction) for key in order]
    return hashlib.sha256(repr((collection.id, names)).encode()).hexdigest()[:12]
