"""scheduler-service, workers and beats as processes, on real Redis, with time shortened by configuration."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc.aio
import orjson

from fastcms.scheduler.v1 import ledger_pb2_grpc, scheduler_pb2, scheduler_pb2_grpc
from fastcms_cli.processes import dies_with
from fastcms_common import context, redis_keys
from fastcms_common.channels import open_channel
from fastcms_common.context import Caller, RequestContext
from fastcms_common.errors import Unavailable
from fastcms_common.ids import new_id
from fastcms_common.redis_connection import connect
from scheduler_service.tasks import TASKS
from tests.contract.scheduler.owners import Owners
from tests.ports import free_port

ADMIN = "0199e000-0000-7000-8000-000000000001"
NEVER = dict.fromkeys(TASKS, "366d")
TOKENS, IP_RULES = "cleanup_expired_tokens", "cleanup_expired_ip_rules"

# Seconds; a machine that does much else takes long to start a process.
PATIENCE = 60.0

T = TypeVar("T")


async def until(condition: Callable[[], Awaitable[T]], what: str, within: float = PATIENCE) -> T:
    """Asks until the answer is true, and gives it. Raises AssertionError that says what was waited for."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + within
    while not (answer := await condition()):
        if loop.time() > give_up:
            raise AssertionError(f"not within {within:g} s: {what}")
        await asyncio.sleep(0.02)
    return answer


class Process:
    """A Python process of the suite, with its log in a file."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.name = name
        self._log = folder / f"{name}-{new_id()[-6:]}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", *command],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509 see there
            )

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Asks it to end; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, 40)

    async def says(self, text: str, within: float = PATIENCE) -> None:
        async def said() -> bool:
            return text in self.log

        try:
            await until(said, f"{self.name} logs {text!r}", within)
        except AssertionError as error:
            raise AssertionError(f"{error}; exit code {self.process.poll()}; its log:\n{self.log}") from None


class System:
    """The processes of a test, and stubs to the service."""

    def __init__(self, folder: Path, redis_url: str, owners: Owners) -> None:
        self.folder = folder
        self.owners = owners
        self.redis_url = redis_url
        self.target = f"127.0.0.1:{free_port()}"
        self.channel: grpc.aio.Channel = open_channel(self.target)
        self.scheduler = scheduler_pb2_grpc.SchedulerServiceStub(self.channel)
        self.ledger = ledger_pb2_grpc.LedgerServiceStub(self.channel)
        self.processes: list[Process] = []
        key = folder / "service.key"
        key.write_bytes(base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"="))
        self._environment = {
            "REDIS_URL": redis_url,
            "STORAGE_URL": f"sqlite:///{folder}/scheduler.db",
            "DATA_DIR": str(folder),
            "SERVICE_KEY_FILE": str(key),
            "AUTH_SERVICE": owners.target,
            "ADMIN_SERVICE": owners.target,
            "COLLECTIONS_SERVICE": owners.target,
            "SCHEDULER_SERVICE": self.target,
            "LOG_LEVEL": "debug",
            # Longer than a process is kept from the processor where many share it.
            "LEASE_SECONDS": "4",
            "BEAT_SECONDS": "0.3",
            "BEAT_LOCK_SECONDS": "1.5",
            "MIN_INTERVAL_SECONDS": "1",
            "TASK_INTERVALS": orjson.dumps(NEVER).decode(),
        }

    def start(self, name: str, *arguments: str, launcher: Sequence[str] = ("-m",), **environment: str) -> Process:
        process = Process(name, [*launcher, *arguments], self._environment | environment, self.folder)
        self.processes.append(process)
        return process

    async def start_service(self, intervals: dict[str, str] | None = None, **options: Any) -> Process:
        """A replica of scheduler-service on the port of this system, answering."""
        options.setdefault("LISTEN", self.target)
        if intervals is not None:
            options["TASK_INTERVALS"] = orjson.dumps(NEVER | intervals).decode()
        process = self.start("service", "scheduler_service", **options)
        await process.says('"missing": []')

        async def answers() -> bool:
            # The channel looks for a service that was restarted after a moment only.
            try:
                await self.as_admin(self.scheduler.ListTasks, scheduler_pb2.ListTasksRequest())
            except Unavailable:
                return False
            return True

        await until(answers, "scheduler-service answers")
        return process

    def start_worker(self, role: str = "both", **options: Any) -> Process:
        arguments = () if role == "both" else ("--only", role)
        return self.start(role if role != "both" else "worker", "scheduler_service.worker", *arguments, **options)

    async def sign_in(self) -> None:
        """Opens the session of the admin that the stubs call as."""
        redis = connect(self.redis_url)
        await redis.hset(redis_keys.session("s1"), mapping={"user": ADMIN})
        await redis.aclose()

    async def as_admin(self, method: Any, request: Any) -> Any:
        """Calls as an admin who is signed in."""
        return await self._call(method, request, self.owners.signer.token(ADMIN, "admin", sid="s1", col="users"))

    async def as_service(self, method: Any, request: Any) -> Any:
        """Calls as a worker does."""
        return await self._call(method, request, self.owners.signer.token("service:scheduler-service", "service"))

    async def _call(self, method: Any, request: Any, token: str) -> Any:
        asked = RequestContext(new_id(), client_ip="10.0.0.9", caller=Caller(ADMIN, "admin"), token=token)
        with context.bind(asked):
            return await method(request)

    async def task(self, name: str) -> scheduler_pb2.Task:
        answer = await self.as_admin(self.scheduler.ListTasks, scheduler_pb2.ListTasksRequest())
        return next(task for task in answer.tasks if task.name == name)

    async def trigger(self, name: str) -> scheduler_pb2.TriggerTaskResponse:
        return await self.as_admin(self.scheduler.TriggerTask, scheduler_pb2.TriggerTaskRequest(task=name))

    async def runs(self, name: str, **page: int) -> list[scheduler_pb2.TaskRun]:
        request = scheduler_pb2.ListTaskRunsRequest(task=name, **page)
        return list((await self.as_admin(self.scheduler.ListTaskRuns, request)).items)

    async def idle(self, name: str) -> None:
        """Returns when the task is not running."""

        async def at_rest() -> bool:
            return (await self.task(name)).status != "running"

        await until(at_rest, f"{name} is not running")

    async def finished(self, name: str, count: int = 1, within: float = PATIENCE) -> list[scheduler_pb2.TaskRun]:
        """The finished runs of a task, the oldest first, as soon as there are that many."""

        async def enough() -> list[scheduler_pb2.TaskRun]:
            try:
                runs = [run for run in await self.runs(name) if run.status != "running"]
            except Unavailable:
                return []
            return runs[::-1] if len(runs) >= count else []

        return await until(enough, f"{count} runs of {name} are finished", within)


@asynccontextmanager
async def scheduler_system(folder: Path, redis_url: str) -> AsyncIterator[System]:
    """A system without any process yet; those that are left at the end are killed."""
    owners = Owners()
    await owners.start()
    system = System(folder, redis_url, owners)
    await system.sign_in()
    try:
        yield system
    finally:
        for process in system.processes:
            process.kill()
        await system.channel.close()
        await owners.stop()
