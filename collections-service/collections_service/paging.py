"""Sorting and paging: by number of page, and by cursor."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any, Literal

import msgspec

from collections_service.models import EMAIL, Collection
from fastcms_common.errors import FieldError, Invalid
from fastcms_common.storage import After
from fastcms_common.storage.values import check_scalar

Order = list[tuple[str, Literal[1, -1]]]
MAX_KEYS = 8


def order_of(collection: Collection, sort: str, *, sees_all: bool) -> Order:
    """`-created,title` as storage sorts it. Invalid naming a field that cannot be sorted by."""
    keys: Order = []
    errors = []
    for item in sort.split(",") if sort.strip() else []:
        name = item.strip()
        plain = name.removeprefix("-").removeprefix("+")
        field = collection.by_name.get(plain)
        # Order tells about values, so it is given by those fields only that the caller sees of every record.
        unseen = field is None or (not sees_all and (field.hidden or field is EMAIL))
        if field is None or unseen:
            errors.append(FieldError("sort", f"there is no field '{plain[:100]}'"))
        elif not field.scalar:
            errors.append(FieldError("sort", f"'{plain}' has no order"))
        elif any(key == field.id for key, _ in keys):
            errors.append(FieldError("sort", f"'{plain}' is given twice"))
        else:
            keys.append((field.id, -1 if name.startswith("-") else 1))
    if len(keys) > MAX_KEYS:
        errors.append(FieldError("sort", f"at most {MAX_KEYS} fields"))
    if errors:
        raise Invalid(errors)
    return keys


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
    return hashlib.sha256(repr((collection.id, order)).encode()).hexdigest()[:12]
