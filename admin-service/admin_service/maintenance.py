"""What an operator does to the audit log and the settings; see `fastcms_common.maintenance`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from admin_service.audit_chain import CheckpointKey
from admin_service.audit_trail import AuditTrail
from admin_service.config import Settings
from admin_service.runtime_settings import RuntimeSettings
from admin_service.settings_categories import categories
from admin_service.store import AdminStore
from fastcms_common.maintenance import Answer, perform
from fastcms_common.redis_connection import connect
from fastcms_common.sealing import Sealer
from fastcms_common.service_tokens import service_keys
from fastcms_common.storage import open_store


async def reseal(settings: Settings, _: Mapping[str, Any]) -> Answer:
    """Seals settings and signs checkpoints with the first of the service keys; `renewed` is how many were not."""
    keys = service_keys(settings)
    redis, store = connect(settings.redis_url), AdminStore(await open_store(settings.storage_url, "admin"))
    trail = AuditTrail(store, redis, CheckpointKey(*keys))
    try:
        await store.prepare()
        runtime = RuntimeSettings(store, redis, trail, categories(settings), Sealer(*keys))
        return {"renewed": await runtime.renew_secrets() + await trail.renew_checkpoints()}
    finally:
        await trail.close()
        await store.close()
        await redis.aclose()


if __name__ == "__main__":
    perform(Settings, {"reseal": reseal})
