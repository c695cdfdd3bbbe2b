"""What an expression may ask of the request: the caller, the incoming data, the query, the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, TypeAlias

from collections_service.models import CREATED, ID, UPDATED, Collection
from collections_service.rules.bound import Asked, Fixed, Moment
from collections_service.rules.tree import Macro
from fastcms_common import times
from fastcms_common.context import BUILT_IN_REALM, Caller
from fastcms_common.storage import Document, Query
from fastcms_common.storage.values import lower


class Sign:
    """A value of its own that is equal to nothing but by the rules of the language."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


# Any `@request.auth.x` where nobody is signed in.
ANONYMOUS: Final = Sign("ANONYMOUS")
# An object, or a list that holds lists or objects: equals nothing.
UNEQUAL: Final = Sign("UNEQUAL")

Resolved: TypeAlias = Any
"""A scalar, a list of scalars, ANONYMOUS or UNEQUAL."""


class Related(Protocol):
    """Looks into other collections while an expression is compiled."""

    async def ids(self, collection: Collection, where: Query) -> list[str]: ...

    async def rows(self, collection: Collection, where: Query) -> list[Document]: ...

    async def get_many(self, collection: Collection, ids: Sequence[str]) -> list[Document | None]: ...

    async def exists(self, collection: Collection, where: Query) -> bool: ...

    async def visible(self, collection: Collection, request: Request, docs: Sequence[Document] | None) -> Query: ...


@dataclass
class Request:
    """One request as expressions see it.

    `data` holds the incoming values by storage key, `given` the names of the fields in the body, `before` the record as
    stored (for `:changed`), `query` the query parameters that are nobody else's.
    """

    method: str
    related: Related
    realm: Callable[[str], Collection | None]
    caller: Caller | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    before: Document | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    _now: datetime | None = None
    _own: Document | None = None
    _own_read: bool = False

    @property
    def now(self) -> datetime:
        """One moment for all macros of the request."""
        if self._now is None:
            self._now = times.now()
        return self._now

    def value(self, operand: Fixed | Moment | Asked) -> Resolved:
        """What the operand is worth, if it does not rest on the caller's record."""
        if isinstance(operand, Fixed):
            return operand.value
        if isinstance(operand, Moment):
            return times.to_text(moment_of(operand.macro, self.now))
        if operand.modifier == "isset":
            return operand.names[0] in (self.given if operand.source == "data" else self.query)
        if operand.modifier == "changed":
            return self._changed(operand)
        return modified(self._asked(operand), operand.modifier)

    def _asked(self, operand: Asked) -> Resolved:
        if operand.source == "method":
            return self.method
        if operand.source == "query":
            return self.query.get(operand.names[0])
        if operand.source == "data":
            key = operand.field.id if operand.field is not None else ""
            return plain(_at(self.data, (key, *operand.names[1:])))
        return ANONYMOUS if self.caller is None else self._of_caller(self.caller, operand.names[0])

    def _of_caller(self, caller: Caller, name: str) -> Resolved:
        """What is known of any caller; None for the rest."""
        collection = self._realm_of(caller)
        return {
            "id": caller.id,
            "role": caller.role,
            "superadmin": caller.superadmin,
            "collection_id": collection.id if collection else None,
            "collection": collection.name if collection else caller.realm,
        }.get(name)

    async def own_record(self) -> tuple[Collection, Document] | None:
        """The caller's record in their auth collection; read once. None where they have none."""
        collection = self._realm_of(self.caller) if self.caller is not None else None
        if self.caller is None or collection is None:
            return None
        if not self._own_read:
            (self._own,) = await self.related.get_many(collection, [self.caller.id])
            self._own_read = True
        return None if self._own is None else (collection, self._own)

    def _realm_of(self, caller: Caller) -> Collection | None:
        return self.realm(caller.realm) if caller.realm != BUILT_IN_REALM else None

    def _changed(self, operand: Asked) -> bool:
        """Whether the body gives the field another value than the one that is stored."""
        if operand.field is None or operand.names[0] not in self.given:
            return False
        stored = (self.before or {}).get(operand.field.id)
        return bool(self.data.get(operand.field.id) != stored)


def many(value: Any) -> list[Any]:
    """The values of a stored value: the elements of a list, else the value alone."""
    return list(value) if isinstance(value, list | tuple) else [value]


def plain(value: Any) -> Resolved:
    """The value, if it is one that a comparison can take."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict | list) for item in value)):
        return UNEQUAL
    return value


def modified(value: Resolved, modifier: str | None) -> Resolved:
    """The value under `:length` or `:lower`."""
    if modifier == "length":
        if value is None or value is ANONYMOUS:
            return 0
        return len(value) if isinstance(value, list) else 1
    if modifier == "lower":
        if isinstance(value, list):
            return [lower(item) if isinstance(item, str) else item for item in value]
        return lower(value) if isinstance(value, str) else value
    return value


def _at(values: Mapping[str, Any], path: Sequence[str]) -> Any:
    here: Any = values
    for step in path:
        here = here.get(step) if isinstance(here, Mapping) else None
    return here


def moment_of(macro: Macro, now: datetime) -> datetime:
    """The time that a macro stands for."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    match macro.name:
        case "now":
            return now
        case "today":
            return midnight
        case "weekStart":
            return midnight - timedelta(days=midnight.weekday())
        case "monthStart":
            return midnight.replace(day=1)
        case "yearStart":
            return midnight.replace(month=1, day=1)
        case "month":
            return _months_later(now, macro.amount)
        case "year":
            return _months_later(now, 12 * macro.amount)
        case unit:
            return now + timedelta(**{f"{unit}s": macro.amount})


def _months_later(now: datetime, amount: int) -> datetime:
    """The same day of another month, or that month's last where it has no such day."""
    years, month = divmod(now.year * 12 + now.month - 1 + amount, 12)
    for day in (now.day, 30, 29, 28):
        try:
            return now.replace(year=years, month=month + 1, day=day)
        except ValueError:
            continue
    raise ValueError(f"no such month: {years}-{month + 1}")


__all__ = [
    "ANONYMOUS",
    "CREATED",
    "ID",
    "UNEQUAL",
    "UPDATED",
    "Related",
    "Request",
    "Resolved",
    "many",
    "modified",
    "moment_of",
    "plain",
]
