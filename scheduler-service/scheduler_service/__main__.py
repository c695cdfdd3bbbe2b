"""scheduler-service: wiring, nothing else."""

from __future__ import annotations

from fastcms.scheduler.v1.exports_pb2_grpc import add_ExportsServiceServicer_to_server
from fastcms.scheduler.v1.ledger_pb2_grpc import add_LedgerServiceServicer_to_server
from fastcms.scheduler.v1.metrics_pb2_grpc import add_MetricsServiceServicer_to_server
from fastcms.scheduler.v1.scheduler_pb2_grpc import add_SchedulerServiceServicer_to_server
from fastcms_common.measures import keep_measuring
from fastcms_common.process import Process, start, until_available
from fastcms_common.service_tokens import service_keys
from scheduler_service.catalog import Catalog
from scheduler_service.config import SERVICE, ServiceSettings
from scheduler_service.export_files import ExportFiles
from scheduler_service.exports_servicer import ExportsServicer
from scheduler_service.history import History
from scheduler_service.leases import LeaseWatch
from scheduler_service.ledger_servicer import LedgerServicer
from scheduler_service.messages import Messages
from scheduler_service.metrics import Metrics
from scheduler_service.metrics_servicer import MetricsServicer
from scheduler_service.own_jobs import OwnJobs
from scheduler_service.queue import queue_measure
from scheduler_service.runs import Ledger
from scheduler_service.sealing import Seal
from scheduler_service.servicer import SchedulerServicer
from scheduler_service.store import LedgerStore
from scheduler_service.tasks import TASKS


async def main(settings: ServiceSettings) -> None:
    seal = Seal(*service_keys(settings))
    async with Process(settings, SERVICE) as process:
        store = LedgerStore(await process.storage("scheduler"))
        messages = Messages(settings.redis_url)
        process.closing.push_async_callback(messages.close)
        ledger = Ledger(store, LeaseWatch(settings.lease_seconds), settings)
        history = History(store, settings)
        own_jobs = OwnJobs(seal, settings.http_job_allowed_hosts)
        catalog = Catalog(store, TASKS, own_jobs, settings)
        metrics = Metrics(store, settings.metrics_targets, settings.metrics_days)
        scheduler = SchedulerServicer(store, catalog, ledger, own_jobs, history, messages, process.audit)

        async def prepare() -> None:
            await store.prepare()
            await catalog.install()

        await until_available(prepare)
        await process.serve(
            [
                (add_SchedulerServiceServicer_to_server, scheduler),
                (add_MetricsServiceServicer_to_server, MetricsServicer(metrics)),
                (add_LedgerServiceServicer_to_server, LedgerServicer(store, ledger, own_jobs, settings.lease_seconds)),
                (add_ExportsServiceServicer_to_server, ExportsServicer(ExportFiles(settings.exports), process.audit)),
            ],
            background=[ledger.keep_watching(), history.keep_pruning(), keep_measuring(queue_measure(process.redis))],
        )


if __name__ == "__main__":
    start(SERVICE, ServiceSettings, main)
