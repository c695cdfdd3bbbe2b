"""The gateway as an operating system sees it: its start, its workers, its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis

from fastcms_common import redis_keys
from gateway.processes import metrics_folder
from tests.ports import free_port

Start = Callable[..., "Gateway"]


class Gateway:
    """A gateway process. Nothing that it depends on is there."""

    def __init__(self, log: Path, **environment: str) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        self.log = log
        given = {
            "LISTEN": f"127.0.0.1:{self.port}",
            "METRICS_LISTEN": f"127.0.0.1:{self.metrics_port}",
            "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
            "DRAIN_SECONDS": "2",
        }
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway"], env=os.environ | given | environment, stdout=out, stderr=out
            )

    def get(self, path: str, port: int | None = None) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{port or self.port}{path}", trust_env=False, timeout=10)

    def is_up(self) -> bool:
        try:
            return self.get("/health").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def workers(self) -> list[psutil.Process]:
        """The processes that serve, without multiprocessing's own tracker."""
        children = psutil.Process(self.process.pid).children()
        alive = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
        return [child for child in alive if "spawn_main" in " ".join(child.cmdline())]

    def both_serve(self) -> bool:
        return self.log.read_text().count("Application startup complete") == 2 and self.is_up()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)


def until(true: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 40
    while not true():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(**environment: str) -> Gateway:
            gateway = Gateway(tmp_path / f"{free_port()}.log", **environment)
            stack.callback(gateway.stop)
            return gateway

        yield begin


def test_it_starts_with_nothing_else_there_and_says_so(start: Start):
    gateway = start()
    until(gateway.is_up, "up")
    ready = gateway.get("/health/ready")
    assert ready.status_code == httpx.codes.SERVICE_UNAVAILABLE
    names = {one["name"]: one["status"] for one in ready.json()["dependencies"]}
    services = ("auth-service", "collections-service", "admin-service", "scheduler-service")
    assert names == dict.fromkeys(("redis", "ip-rules", *services), "down")
    assert "fastcms_http_requests" in gateway.get("/metrics", gateway.metrics_port).text
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(20) == 0
    assert "Traceback" not in gateway.log.read_text()


def test_several_workers_count_as_one(start: Start, redis_url: str):
    # As admin-service does where there are no rules.
    with redis.Redis.from_url(redis_url) as client:
        client.set(redis_keys.IP_RULES_VERSION, 1)
    gateway = start(GATEWAY_WORKERS="2", REDIS_URL=redis_url)
    until(gateway.both_serve, "two workers")
    for _ in range(20):
        gateway.get("/nowhere")

    def counted() -> bool:
        text = gateway.get("/metrics", gateway.metrics_port).text
        return 'fastcms_http_requests_total{method="GET",route="unmatched",status="404"} 20.0' in text

    until(counted, "the requests of both workers")


def test_a_worker_that_is_killed_is_replaced(start: Start):
    gateway = start(GATEWAY_WORKERS="2")
    until(gateway.both_serve, "two workers")
    killed = gateway.workers()[0]
    killed.kill()
    until(lambda: killed.pid not in [one.pid for one in gateway.workers()] and len(gateway.workers()) == 2, "a new one")
    until(gateway.is_up, "up")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_workers_do_not_outlive_their_parent(start: Start):
    gateway = start(GATEWAY_WORKERS="2")
    # Each has asked to be told once it serves.
    until(gateway.both_serve, "two workers")
    workers = gateway.workers()
    gateway.process.kill()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []


def test_the_counts_of_a_gateway_that_was_killed_are_swept_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for owner in (dead.pid, os.getppid()):
        (tmp_path / f"fastcms-metrics-{owner}-x").mkdir()
    with metrics_folder() as own:
        assert {entry.name for entry in tmp_path.iterdir()} == {f"fastcms-metrics-{os.getppid()}-x", Path(own).name}
    assert [entry.name for entry in tmp_path.iterdir()] == [f"fastcms-metrics-{os.getppid()}-x"]


def test_all_end_with_sigterm(start: Start):
    gateway = start(GATEWAY_WORKERS="2")
    until(gateway.both_serve, "two workers")
    family = psutil.Process(gateway.process.pid).children(recursive=True)
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(20) == 0
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


def test_a_port_that_is_taken_is_one_clear_line(start: Start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for name in ("LISTEN", "METRICS_LISTEN"):
            gateway = start(**{name: address})
            assert gateway.process.wait(30) == 2
            lines = gateway.log.read_text().splitlines()
            assert len(lines) == 1
            assert lines[0].startswith(f"fastcms: {name}: {address}")


def test_a_bad_setting_is_one_clear_line(start: Start):
    gateway = start(GATEWAY_WORKERS="many")
    assert gateway.process.wait(30) == 2
    assert gateway.log.read_text().startswith("fastcms: GATEWAY_WORKERS: ")


def test_a_socket_can_be_passed_on(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        descriptor = listening.fileno()
        os.set_inheritable(descriptor, True)
        environment = os.environ | {"LISTEN_FD": str(descriptor), "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
        with (tmp_path / "log").open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway"], env=environment, pass_fds=[descriptor], stdout=out, stderr=out
            )
        try:
            # Nobody serves yet: the connection waits in the queue.
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/health"
            assert httpx.get(url, trust_env=False, timeout=30).status_code == httpx.codes.OK
        finally:
            process.terminate()
            assert process.wait(20) == 0
