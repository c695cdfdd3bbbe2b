"""The real suite with certificates between its processes: nothing works less, and plaintext not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.certificates import Authority
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.suite import Suite, wait_until

SERVICES = ("auth-service", "collections-service", "admin-service", "scheduler-service")
TASK = "cleanup_expired_tokens"


def test_the_whole_suite_speaks_mutual_tls(new_suite: Callable[..., Suite], tmp_path: Path):
    files = Authority().write(tmp_path / "tls", "127.0.0.1")
    named = {name.upper(): str(path) for name, path in files.settings.items()}
    suite = new_suite(ADMIN_EMAIL=ADMIN_EMAIL, ADMIN_PASSWORD=ADMIN_PASSWORD, **named)
    with httpx.Client(base_url=suite.base_url, trust_env=False, timeout=20) as client:
        # From the gateway to each service, from admin-service and scheduler-service to others, from the worker to all.
        signed_in = client.post("/api/v1/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        client.headers["Authorization"] = f"Bearer {signed_in.json()['access_token']}"
        assert client.get("/api/v1/admin/users").is_success
        assert client.get("/api/v1/collections").is_success
        assert client.post(f"/api/v1/admin/cron/{TASK}/trigger").is_success
        history = f"/api/v1/admin/cron/{TASK}/runs"
        wait_until(lambda: '"succeeded"' in client.get(history).text, "the job is done", within=30)
    for service in SERVICES:
        with grpc.insecure_channel(suite.address(service)) as channel, pytest.raises(grpc.RpcError) as refused:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
