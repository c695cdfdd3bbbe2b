"""scheduler-service: wiring, nothing else."""

from __future__ import annotations

import asyncio

from google.api.httpbody_pb2 import HttpBody

from fastcms.auth.v1.keys_pb2 import GetKeySetRequest
from fastcms.auth.v1.keys_pb2_grpc import KeysServiceStub
from fastcms.scheduler.v1.ledger_pb2_grpc import add_LedgerServiceServicer_to_server
from fastcms.scheduler.v1.metrics_pb2_grpc import add_MetricsServiceServicer_to_server
from fastcms.scheduler.v1.scheduler_pb2_grpc import add_SchedulerServiceServicer_to_server
from fastcms_common import logs
from fastcms_common.access import Authenticator
from fastcms_common.audit import AuditLog
from fastcms_common.channels import open_channel
from fastcms_common.errors import Unavailable
from fastcms_common.redis_connection import connect
from fastcms_common.serving import run, serve
from fastcms_common.sessions import SessionGuard
from fastcms_common.settings import load
from fastcms_common.storage import open_store
from fastcms_common.tokens import TokenVerifier
from scheduler_service.catalog import Catalog
from scheduler_service.config import SERVICE, ServiceSettings, service_key
from scheduler_service.history import History
from scheduler_service.leases import LeaseWatch
from scheduler_service.ledger_servicer import LedgerServicer
from scheduler_service.messages import Messages
from scheduler_service.metrics import Metrics
from scheduler_service.metrics_servicer import MetricsServicer
from scheduler_service.own_jobs import OwnJobs
from scheduler_service.runs import Ledger
from scheduler_service.sealing import Seal
from scheduler_service.servicer import SchedulerServicer
from scheduler_service.store import LedgerStore
from scheduler_service.tasks import TASKS

log = logs.get_logger(__name__)


async def main() -> None:
    settings = load(ServiceSettings)
    logs.configure(settings, SERVICE)
    redis = connect(settings.redis_url)
    store = LedgerStore(await open_store(settings.storage_url, "scheduler"))
    auth = open_channel(settings.auth_service, multiplex=settings.rpc_multiplex)
    keys = KeysServiceStub(auth)
    sessions = SessionGuard(redis)
    messages = Messages(settings.redis_url)

    async def key_set() -> bytes:
        answer: HttpBody = await keys.GetKeySet(GetKeySetRequest())
        return bytes(answer.data)

    verifier = TokenVerifier(key_set, settings.token_issuer)

    async def redis_answers() -> None:
        await redis.ping()

    watch = LeaseWatch(settings.lease_seconds)
    ledger = Ledger(store, watch, settings)
    history = History(store, settings)
    own_jobs = OwnJobs(Seal(service_key(settings)), settings.http_job_allowed_hosts)
    catalog = Catalog(store, TASKS, own_jobs, settings)
    try:
        await prepare(store, catalog)
        await serve(
            settings,
            SERVICE,
            [
                (
                    add_SchedulerServiceServicer_to_server,
                    SchedulerServicer(store, catalog, ledger, own_jobs, history, messages, AuditLog(redis)),
                ),
                (
                    add_MetricsServiceServicer_to_server,
                    MetricsServicer(Metrics(store, settings.metrics_targets, settings.metrics_days)),
                ),
                (add_LedgerServiceServicer_to_server, LedgerServicer(store, ledger, own_jobs, settings.lease_seconds)),
            ],
            Authenticator(verifier, sessions),
            ready={"redis": redis_answers, "storage": store.ping, "keys": verifier.ready},
            background=[sessions.watch(), ledger.keep_watching(), history.keep_pruning()],
        )
    finally:
        await messages.close()
        await auth.close()
        await store.close()
        await redis.aclose()


async def prepare(store: LedgerStore, catalog: Catalog) -> None:
    """Makes the tables and installs the suite's tasks; a database that is not there yet is waited for."""
    waiting = False
    while True:
        try:
            await store.prepare()
            await catalog.install()
        except Unavailable as error:
            if not waiting:
                log.warning("waiting for the database", error=error.detail)
            waiting = True
            await asyncio.sleep(0.5)
        else:
            return


if __name__ == "__main__":
    run(main())
