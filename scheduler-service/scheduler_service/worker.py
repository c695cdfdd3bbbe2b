"""`python -m scheduler_service.worker`: a Celery worker and a RedBeat beat in one small process, or one of them.

Threads: Celery's consumer is the main one; a few wait for runs (Celery's `threads` pool); one has the event loop in
which all runs are done; one is the beat. Prefork would cost a process of 50 MiB for each run that may go on at once.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from types import FrameType
from typing import Any, TypeVar

import redis.exceptions
from celery import Celery
from celery.apps.worker import Worker
from celery.exceptions import SecurityWarning
from celery.worker import state

from fastcms.scheduler.v1 import ledger_pb2, ledger_pb2_grpc
from fastcms_common import logs, tracing
from fastcms_common.channels import open_channel
from fastcms_common.errors import TimedOut
from fastcms_common.metrics import serve_metrics
from fastcms_common.service_tokens import ServiceTokens, service_keys
from fastcms_common.settings import load
from fastcms_common.times import from_text
from fastcms_common.tls import tls_of
from scheduler_service.beat import Beat, Plan, keep_time
from scheduler_service.celery_app import RUN, make_app, received
from scheduler_service.config import SERVICE, WorkerSettings
from scheduler_service.executions import Executions
from scheduler_service.jobs import HttpRules, work_with
from scheduler_service.tasks import Services

# Of the time that a stopping process has, what is left for handing back what it could not finish.
_HAND_BACK_SECONDS = 2.0
_SAY_AGAIN_SECONDS = 30.0

T = TypeVar("T")

log = logs.get_logger(__name__)


class Background:
    """An event loop in a thread of its own, for the rest of the process to call into."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="runs", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Does `work` in the loop and waits for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begins `work` in the loop and does not wait for it; a signal handler may say so too."""
        asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        self.call(_finish_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _finish_tasks() -> None:
    """Lets what closing has set off (gRPC ends its calls in tasks of its own) come to its end."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if tasks:
        _, left = await asyncio.wait(tasks, timeout=1.0)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


class QuietWorker(Worker):  # type: ignore[misc]
    """Celery's worker without its banner, with one way to stop: what runs is finished or handed back."""

    when_stopping: Callable[[], None]

    def on_start(self) -> None:
        self.install_platform_tweaks(self)

    def setup_logging(self, colorize: bool | None = None) -> bool:
        # Logs are what logs.configure made them.
        return False

    def install_platform_tweaks(self, worker: Worker) -> None:
        def stop_warmly(_: int, __: FrameType | None) -> None:
            if state.should_stop is None:
                state.should_stop = os.EX_OK
                self.when_stopping()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop_warmly)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scheduler_service.worker", description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", choices=("worker", "beat"), help="be one of the two (or WORKER_ROLE=worker, beat)")
    only = parser.parse_args().only
    settings = load(WorkerSettings)
    for number in (signal.SIGTERM, signal.SIGINT):
        # Until worker or beat take over, nothing has begun that would have to be finished.
        signal.signal(number, lambda *_: os._exit(os.EX_OK))
    role = only or settings.worker_role
    logs.configure(settings, f"scheduler-{role if role != 'both' else 'worker'}")
    _calm_libraries()
    if settings.metrics_listen:
        serve_metrics(settings.metrics_listen)
    tracing.start(settings, f"scheduler-{role if role != 'both' else 'worker'}")
    key = service_keys(settings)[0]
    background = Background()
    channels = background.call(_connect(settings, key))
    app = make_app(settings.redis_url, settings.visibility_timeout_seconds)
    beat = _beat(app, settings, background, channels) if role != "worker" else None
    try:
        if role == "beat":
            _stand_alone(beat)
        else:
            _work(app, settings, background, channels, beat)
    finally:
        background.call(channels.close())
        background.call(tracing.stop())
        background.close()
    log.info("stopped", role=role)


class Channels:
    """The connections of this process, made in the loop that uses them."""

    def __init__(self, settings: WorkerSettings, key: bytes) -> None:
        multiplex, tls = settings.rpc_multiplex, tls_of(settings)
        plain = open_channel(settings.auth_service, multiplex=multiplex, tls=tls)
        tokens = ServiceTokens(SERVICE, key, plain)
        targets = (settings.auth_service, settings.admin_service, settings.collections_service)
        auth, admin, collections = (
            open_channel(target, tokens.get, multiplex=multiplex, tls=tls) for target in targets
        )
        own = open_channel(settings.scheduler_service, tokens.get, multiplex=multiplex, tls=tls)
        self.services = Services(auth, admin, collections, own)
        self.ledger: ledger_pb2_grpc.LedgerServiceAsyncStub = ledger_pb2_grpc.LedgerServiceStub(own)
        self._all = (plain, auth, admin, collections, own)

    async def plans(self, seconds: float) -> list[Plan]:
        """The schedules as the ledger has them, within so many seconds. Raises the domain errors of a call."""
        try:
            async with asyncio.timeout(seconds):
                answer = await self.ledger.ListSchedules(ledger_pb2.ListSchedulesRequest())
        except TimeoutError:
            raise TimedOut("The ledger did not answer in time.") from None
        return [
            Plan(
                task=one.task,
                interval=one.interval,
                anchor=from_text(one.anchor.ToJsonString()) if one.HasField("anchor") else None,
                enabled=not one.disabled,
                waiting=one.waiting,
            )
            for one in answer.schedules
        ]

    async def close(self) -> None:
        for channel in self._all:
            await channel.close()


async def _connect(settings: WorkerSettings, key: bytes) -> Channels:
    return Channels(settings, key)


class BeatThread(threading.Thread):
    """The beat beside a worker. Should it fail, the process ends, to be started again: no worker without its clock."""

    def __init__(self, beat: Beat, stopping: threading.Event) -> None:
        super().__init__(name="beat")
        self.failed = False
        self._beat = beat
        self._stopping = stopping

    def run(self) -> None:
        try:
            keep_time(self._beat, self._stopping)
        except Exception:
            log.exception("the beat failed")
            self.failed = True
            os.kill(os.getpid(), signal.SIGTERM)


def _beat(app: Celery, settings: WorkerSettings, background: Background, channels: Channels) -> Beat:
    # Asking must not take so long that the lock is lost meanwhile.
    patience = settings.beat_lock_seconds / 3
    return Beat(
        app, lambda: background.call(channels.plans(patience)), settings.beat_seconds, settings.beat_lock_seconds
    )


def _stand_alone(beat: Beat | None) -> None:
    """A beat by itself, until SIGTERM."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    if beat is not None:
        keep_time(beat, stopping)


def _work(app: Celery, settings: WorkerSettings, background: Background, channels: Channels, beat: Beat | None) -> None:
    """A worker, with a beat beside it if one is given, until SIGTERM."""
    name = f"{socket.gethostname()}:{os.getpid()}"
    http_jobs = HttpRules(settings.http_job_allowed_hosts, settings.http_job_ca_file)
    work = work_with(channels.services, http_jobs, settings.exports)
    executions = Executions(channels.ledger, work, name)

    @app.task(name=RUN, bind=True)  # type: ignore[untyped-decorator]
    def run(message: Any, task: str, **_: Any) -> None:
        try:
            with received(vars(message.request), task):
                background.call(executions.drain(task))
        except CancelledError:
            log.info("run interrupted", task=task)

    worker = QuietWorker(
        app=app,
        pool="threads",
        concurrency=settings.worker_concurrency,
        hostname=f"scheduler@{name}",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    stopping = threading.Event()
    grace = max(0.0, settings.drain_seconds - _HAND_BACK_SECONDS)

    def when_stopping() -> None:
        stopping.set()
        background.start(executions.stop(grace))

    worker.when_stopping = when_stopping
    clock = BeatThread(beat, stopping) if beat is not None else None
    if clock is not None:
        clock.start()
    try:
        worker.start()
    finally:
        stopping.set()
        if clock is not None:
            clock.join()
    if worker.exitcode or (clock is not None and clock.failed):
        raise SystemExit(worker.exitcode or os.EX_SOFTWARE)


class _OneLine(logging.Filter):
    """Celery and kombu tell of a broker that is away at every attempt, over several lines, and with a traceback.

    One line twice a minute is enough.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(("celery", "kombu")):
            return True
        record.msg, record.args = " ".join(record.getMessage().split()), None
        if record.exc_info and isinstance(record.exc_info[1], OSError | redis.exceptions.RedisError):
            record.exc_info = None
        if "Trying again in" in record.msg:
            now = time.monotonic()
            if now - self._said < _SAY_AGAIN_SECONDS:
                return False
            self._said = now
        return True


def _calm_libraries() -> None:
    # Messages are JSON, so a worker that is root is no more dangerous than the rest of the suite as root is.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    for name in ("celery", "kombu"):
        logging.getLogger(name).setLevel(logging.WARNING)
    one_line = _OneLine()
    for handler in logging.getLogger().handlers:
        handler.addFilter(one_line)


if __name__ == "__main__":
    main()
