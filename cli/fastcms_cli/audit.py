"""What the operator did, written to the suite's audit log."""

from __future__ import annotations

import asyncio
from typing import Any

from fastcms_common.audit import AuditLog, EventType
from fastcms_common.redis_connection import connect


def record(event_type: EventType, event_action: str, *, redis_url: str, **facts: Any) -> None:
    """One event; `facts` are those of `fastcms_common.audit.build_event`. Raises Unavailable."""

    async def write() -> None:
        client = connect(redis_url)
        try:
            await AuditLog(client).record(event_type, event_action, **facts)
        finally:
            await client.aclose()

    asyncio.run(write())
