"""Reading the audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from google.protobuf.timestamp_pb2 import Timestamp

from admin_service.models import exported, timestamp_text
from admin_service.store import AdminStore
from fastcms.admin.v1.audit_pb2 import ExportAuditEventsRequest, ListAuditEventsRequest, ListFailedLoginsRequest
from fastcms_common.errors import Invalid
from fastcms_common.storage import And, Document, Query, eq, ge, le

LIMIT = 100
LOGIN_FAILED = "login_failed"
TYPES = ("auth", "user", "admin", "collection", "record", "security", "system")
SEVERITIES = ("info", "warning", "critical")
OUTCOMES = ("success", "failure", "error")
# Filters that are an equality on the field of the same name.
_FIELDS = (
    "event_type", "event_action", "user_id", "actor_id", "severity", "outcome", "resource_type", "resource_id",
)  # fmt: skip


def where(request: ListAuditEventsRequest | ExportAuditEventsRequest) -> Query:
    """The rows that a request asks for. An absent filter asks for all; both ends of the time span are included.

    Invalid where the address is none.
    """
    fields = [eq(name, value) for name in _FIELDS if (value := getattr(request, name))]
    return And(*fields, *_address(request.ip_address), *_span(request))


def failed_logins(request: ListFailedLoginsRequest) -> Query:
    """The failed sign-ins that a request asks for."""
    parts: list[Query] = [eq("event_action", LOGIN_FAILED)]
    if request.user_id:
        parts.append(eq("user_id", request.user_id))
    parts += _address(request.ip_address)
    if request.HasField("from_date"):
        parts.append(ge("created", timestamp_text(request.from_date)))
    return And(*parts)


def _address(text: str) -> list[Query]:
    """The one spelling in which the gateway notes an address, whichever was asked for."""
    if not text:
        return []
    try:
        address = ip_address(text)
    except ValueError:
        raise Invalid.field("ip_address", "Must be an address such as 192.0.2.1 or 2001:db8::1.") from None
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return [eq("ip_address", str(inner or address))]


def _span(request: ListAuditEventsRequest | ExportAuditEventsRequest) -> list[Query]:
    return span(
        request.from_date if request.HasField("from_date") else None,
        request.to_date if request.HasField("to_date") else None,
    )


def span(first: Timestamp | None, last: Timestamp | None) -> list[Query]:
    """Conditions on the time of an event."""
    parts: list[Query] = []
    if first is not None:
        parts.append(ge("created", timestamp_text(first)))
    if last is not None:
        parts.append(le("created", timestamp_text(last)))
    return parts


@dataclass(frozen=True, slots=True)
class Statistics:
    """How many events there are of each kind; kinds of which there are none are left out of `actions` only."""

    total: int
    types: dict[str, int]
    actions: dict[str, int]
    severities: dict[str, int]
    outcomes: dict[str, int]


class AuditEvents:
    """The log as its readers see it."""

    def __init__(self, store: AdminStore) -> None:
        self._store = store

    async def page(self, where: Query, limit: int, offset: int) -> tuple[list[Document], int]:
        """Rows, the newest first, and how many match in all."""
        return await self._store.events(where, limit, offset)

    async def newest(self, where: Query, limit: int) -> list[Document]:
        """The newest rows that match."""
        return await self._store.newest_events(where, limit)

    async def statistics(self, where: Query) -> Statistics:
        """Counts, each of them answered from an index."""

        async def counts(field: str, values: tuple[str, ...] | list[str]) -> dict[str, int]:
            return {value: await self._store.count_events(And(eq(field, value), where)) for value in values}

        actions = await counts("event_action", await self._store.actions())
        return Statistics(
            total=await self._store.count_events(where),
            types=await counts("event_type", TYPES),
            actions={action: count for action, count in actions.items() if count},
            severities=await counts("severity", SEVERITIES),
            outcomes=await counts("outcome", OUTCOMES),
        )

    async def export(self, where: Query) -> AsyncIterator[bytes]:
        """The matching rows as NDJSON, the oldest first, a page at a time: never more than one is in memory."""
        async for page in self._store.chain(0, where):
            yield b"".join(map(exported, page))
