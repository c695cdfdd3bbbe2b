"""Messages as documents and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from fastcms.admin.v1.audit_pb2 import AuditEvent
from fastcms.admin.v1.ip_rules_pb2 import IpRule
from fastcms.admin.v1.users_pb2 import UserSummary
from fastcms.auth.v1.identities_pb2 import Identity
from fastcms_common.storage import Document
from fastcms_common.times import from_text, to_text

_TEXTS = (
    "id", "event_type", "event_action", "severity", "user_id", "user_email", "actor_id", "ip_address", "user_agent",
    "resource_type", "resource_id", "description", "outcome", "error_message", "request_id",
)  # fmt: skip

# Characters.
_MAX_ID = 64
_MAX_TEXT = 2_000
_MAX_DETAILS = 100_000


def timestamp(moment: datetime) -> Timestamp:
    """An aware datetime as a message."""
    message = Timestamp()
    message.FromDatetime(moment.astimezone(UTC))
    return message


def timestamp_text(message: Timestamp) -> str:
    """The message as the canonical text that storage compares."""
    return to_text(message.ToDatetime(tzinfo=UTC))


def row_of(event: AuditEvent) -> Document:
    """An event as a row of the log, not yet linked into the chain. ValueError where it has no id or no time.

    Nothing that somebody outside may have chosen (an e-mail, a user agent) keeps an event out of the log: what storage
    does not take is replaced, what is too long is cut.
    """
    if not 0 < len(event.id) <= _MAX_ID or not event.HasField("created"):
        raise ValueError("an audit event needs an id and a time")
    row: Document = {name: _storable(getattr(event, name)) or None for name in _TEXTS}
    row["details"] = _details(event.details)
    row["created"] = timestamp_text(event.created)
    return row


def _storable(text: str) -> str:
    return text[:_MAX_TEXT].replace("\0", "\N{REPLACEMENT CHARACTER}")


def _details(raw: bytes) -> str:
    """The details as JSON text of an object, in one spelling."""
    try:
        details = orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError:
        details = {"unreadable": raw[:_MAX_TEXT].decode("utf-8", "replace")}
    text = orjson.dumps(details if isinstance(details, dict) else {"value": details}).decode()
    return text if len(text) <= _MAX_DETAILS else orjson.dumps({"cut": text[:_MAX_DETAILS]}).decode()


def event_of(row: Mapping[str, Any]) -> AuditEvent:
    """A row of the log as an event."""
    event = AuditEvent(details=row["details"].encode(), created=timestamp(from_text(row["created"])))
    for name in _TEXTS:
        if (value := row.get(name)) is not None:
            setattr(event, name, value)
    return event


def user_summary(identity: Identity) -> UserSummary:
    """An account as it stands in a list."""
    return UserSummary(
        id=identity.id,
        email=identity.email,
        name=identity.name if identity.HasField("name") else None,
        role=identity.role,
        superadmin=identity.superadmin,
        verified=identity.verified,
        disabled=identity.disabled,
        collection=identity.collection,
        created=identity.created,
        last_login=identity.last_login if identity.HasField("last_login") else None,
    )


def exported(row: Mapping[str, Any]) -> bytes:
    """A row of the log as a line of an export (`ExportedAuditEvent`), newline and all."""
    line = {name: row.get(name) for name in AuditEvent.DESCRIPTOR.fields_by_name}
    line["details"] = orjson.Fragment(row["details"])
    line |= {name: row[name] for name in ("position", "previous", "hash")}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def ip_rule(document: Mapping[str, Any]) -> IpRule:
    """A stored IP rule as a message."""
    expires = document.get("expires_at")
    return IpRule(
        id=document["id"],
        cidr=document["cidr"],
        rule_type=document["rule_type"],
        reason=document.get("reason"),
        expires_at=timestamp(from_text(expires)) if expires else None,
        created=timestamp(from_text(document["created"])),
        created_by=document.get("created_by"),
    )
