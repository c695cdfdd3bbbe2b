"""This suite, by `fastcms run`, on an embedded Redis and SQLite."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import psutil

from bench.loads import Load, Request
from bench.progress import say
from bench.records import ACCOUNTS, COLLECTIONS, INDEXED, PLAIN, TEXTS, WRITTEN, batches, records
from bench.systems.system import EMAIL, PASSWORD, System, checked, mib
from fastcms_cli.processes import dies_with
from tests.suite import Suite, start_suite

_LIST = {"filter": 'category = "c3"', "sort": "-views", "per_page": "30"}
_BATCH = 1000
# The process that is worker and beat in one.
_WORKER = "scheduler-worker"


class FastCms(System):
    name = "FastCMS"
    version = "this tree"

    def __init__(self, workers: int = 2) -> None:
        super().__init__()
        self.workers = workers
        self._suite: Suite | None = None
        self._token = ""
        self._ids: list[str] = []

    def install(self) -> None:
        """The environment that runs the bench is the one that it runs in."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        data = self.folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        self._suite = start_suite(
            data,
            ADMIN_EMAIL=EMAIL,
            ADMIN_PASSWORD=PASSWORD,
            GATEWAY_WORKERS=str(self.workers),
            # In force as ever, and out of reach: one caller makes all the requests here.
            RATE_LIMIT_REQUESTS_PER_MINUTE="10000000",
            RATE_LIMIT_CREDENTIALS_PER_MINUTE="1000000",
        )
        self.process = self._suite.process
        self.url = self._suite.base_url

    def stop(self) -> None:
        if self._suite is not None:
            self._suite.stop()

    def pids(self, names: Iterable[str]) -> dict[str, int]:
        """The processes of these names that run; with several gateway workers that is their parent."""
        assert self._suite is not None
        found = {name: self._suite.pid(name) for name in names}
        return {name: pid for name, pid in found.items() if pid is not None}

    def memory_parts(self) -> dict[str, float]:
        """MiB of each process, and of a worker and a beat by themselves, as deployments run them."""
        assert self._suite is not None
        parts: dict[str, float] = {}
        for name, pid in self.pids(self._suite.run_info()["processes"]).items():
            process = psutil.Process(pid)
            parts[name] = sum(mib(one) for one in (process, *process.children(recursive=True)))
        return parts | {f"{role} alone": self._alone(role) for role in ("worker", "beat")}

    def _alone(self, role: str) -> float:
        """What a process that is only a worker or only a beat takes, beside the one that is both."""
        (both,) = self.pids([_WORKER]).values()
        like = psutil.Process(both)
        with (self.folder / f"{role}.log").open("wb") as log:
            process = subprocess.Popen(
                [*like.cmdline(), "--only", role],
                env=like.environ() | {"METRICS_LISTEN": ""},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509 see there
            )
        try:
            return _at_rest(psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait(40)

    def fill(self, count: int) -> None:
        with self.client() as client:
            login = checked(client.post("/api/v1/auth/login", json={"email": EMAIL, "password": PASSWORD}))
            self._token = login.json()["access_token"]
        with self.client(authorization=f"Bearer {self._token}") as client:
            for account in ACCOUNTS:
                person = {"email": account, "password": PASSWORD, "role": "user"}
                checked(client.post("/api/v1/auth/register", json=person))
            for collection in COLLECTIONS:
                checked(client.post("/api/v1/collections", json=self._schema(collection)))
            for collection in (PLAIN, INDEXED):
                say(f"{self.name}: {count:,} records into {collection}")
                for batch in batches(count, _BATCH):
                    body = {"records": [{"data": record} for record in batch]}
                    answer = checked(client.post(f"/api/v1/collections/{collection}/records/batch", json=body)).json()
                    if answer["failed"]:
                        raise SystemExit(f"{self.name}: {answer['errors'][:2]}")
                    if collection == PLAIN and len(self._ids) < 10_000:
                        self._ids.extend(record["id"] for record in answer["records"])

    @staticmethod
    def _schema(collection: str) -> dict[str, Any]:
        fields = [{"name": name, "type": "text"} for name in TEXTS]
        fields += [{"name": "views", "type": "number"}, {"name": "featured", "type": "bool"}]
        index = {"name": "by_category", "fields": ["category", "views"], "unique": False}
        return {
            "name": collection,
            "type": "base",
            "schema": {"fields": fields},
            "indexes": [index] if collection == INDEXED else [],
            "list_rule": "",
            "view_rule": "",
            "create_rule": "",
        }

    def load(self, kind: str) -> Load | None:
        if kind == "health":
            return Load([Request("GET", "/health")], {})
        if kind == "login":
            logins = [json.dumps({"email": account, "password": PASSWORD}) for account in ACCOUNTS]
            requests = [Request("POST", "/api/v1/auth/login", login) for login in logins]
            return Load(requests, {"Content-Type": "application/json"})
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        return Load(self._signed_in(kind), headers)

    def _signed_in(self, kind: str) -> list[Request]:
        if kind == "me":
            return [Request("GET", "/api/v1/auth/me")]
        if kind == "get":
            return [Request("GET", f"/api/v1/collections/{PLAIN}/records/{id_}") for id_ in self._ids]
        if kind == "create":
            path = f"/api/v1/collections/{WRITTEN}/records"
            return [Request("POST", path, json.dumps({"data": record})) for record in records(500)]
        collection = INDEXED if kind.startswith("indexed") else PLAIN
        query = _LIST | ({"skip_total": "true"} if kind.endswith("uncounted") else {})
        return [Request("GET", f"/api/v1/collections/{collection}/records?{urlencode(query)}")]


def _at_rest(process: psutil.Process) -> float:
    """The MiB of a process once it has started and does next to nothing. Ends the bench where that does not come."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        before = process.cpu_times().user
        time.sleep(2.0)
        if before > 0.3 and process.cpu_times().user - before < 0.1:
            return mib(process)
    raise SystemExit("FastCMS: a worker or beat by itself does not come to rest")
