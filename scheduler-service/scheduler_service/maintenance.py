"""What an operator does to the jobs; see `fastcms_common.maintenance`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastcms_common.errors import Unavailable
from fastcms_common.maintenance import Answer, perform
from fastcms_common.service_tokens import service_keys
from fastcms_common.storage import open_store
from scheduler_service.config import ServiceSettings
from scheduler_service.models import Task
from scheduler_service.sealing import Seal
from scheduler_service.store import LedgerStore

ROUNDS = 20


async def reseal(settings: ServiceSettings, _: Mapping[str, Any]) -> Answer:
    """Seals the secrets of jobs with the first of the service keys; `renewed` is how many were not."""
    seal, store = Seal(*service_keys(settings)), LedgerStore(await open_store(settings.storage_url, "scheduler"))
    try:
        await store.prepare()
        return {"renewed": sum([await _renew(store, task, seal) for task in await store.tasks()])}
    finally:
        await store.close()


async def _renew(store: LedgerStore, found: Task, seal: Seal) -> bool:
    task: Task | None = found
    for _ in range(ROUNDS):
        sealed = task.parameters.get("headers") if task is not None else None
        after = seal.renewed(found.id, sealed) if sealed else None
        if task is None or after is None:
            return False
        if await store.swap(task, parameters={**task.parameters, "headers": after}):
            return True
        # Somebody has changed it: a beat, a worker, an admin.
        task = await store.task(found.id)
    raise Unavailable(f"The job {found.id} keeps changing.")


if __name__ == "__main__":
    perform(ServiceSettings, {"reseal": reseal})
