"""The suite with two replicas of each service, as a deployment has it: each a process, with addresses in settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fastcms_cli.processes import dies_with
from tests.ports import free_port
from tests.suite import wait_until

SERVICES = ("auth-service", "collections-service", "admin-service", "scheduler-service")


class Replica:
    """One process at an address that stays its own."""

    def __init__(self, name: str, environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.address = f"127.0.0.1:{free_port()}"
        self._environment = environment
        self._log = log

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", self.name.replace("-", "_")],
                env=os.environ | self._environment | {"LISTEN": self.address},
                stdout=log,
                stderr=log,
                preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509 see there
            )

    def wait_ready(self) -> None:
        """Until it answers that it is ready."""
        wait_until(self._is_ready, f"{self.name} is ready; its log is {self._log}", within=120)

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} has ended:\n{self._log.read_text()}")
        if self.name == "gateway":
            try:
                return httpx.get(f"http://{self.address}/health/ready", trust_env=False, timeout=2).status_code == 200
            except httpx.HTTPError:
                return False
        with grpc.insecure_channel(self.address) as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(service="ready"), timeout=2
                )
            except grpc.RpcError:
                return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Replicas:
    """Two of each service, and a gateway for each of the ways in which calls are made: multiplexed, and plain gRPC."""

    def __init__(self, folder: Path, redis_url: str, admin: tuple[str, str]) -> None:
        self.folder = folder
        key = urlsafe_b64encode(os.urandom(32)).decode()
        for name in ("service.key", "master.key"):
            (folder / name).write_text(key)
        self.environment = environment = {
            "REDIS_URL": redis_url,
            "STORAGE_URL": f"sqlite://{folder}",
            "DATA_DIR": str(folder),
            "SERVICE_KEY_FILE": str(folder / "service.key"),
            "MASTER_KEY_FILE": str(folder / "master.key"),
            "ADMIN_EMAIL": admin[0],
            "ADMIN_PASSWORD": admin[1],
            "RATE_LIMITS_ENABLED": "false",
            "LOG_LEVEL": "info",
        }
        self.sets = [
            [Replica(name, environment, folder / f"{name}-{number}.log") for name in SERVICES] for number in (1, 2)
        ]
        for pair in zip(*self.sets, strict=True):
            environment[pair[0].name.replace("-", "_").upper()] = ",".join(one.address for one in pair)
        self.multiplexed = Replica("gateway", environment, folder / "gateway-1.log")
        self.plain = Replica("gateway", environment | {"RPC_MULTIPLEX": "false"}, folder / "gateway-2.log")
        self.all = [*self.sets[0], *self.sets[1], self.multiplexed, self.plain]

    def start(self) -> None:
        for replica in self.all:
            replica.start()
        for replica in self.all:
            replica.wait_ready()

    def close(self) -> None:
        for replica in self.all:
            replica.kill()
