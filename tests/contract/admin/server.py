"""admin-service as it really is, wired by its own `main`, beside a real auth-service; each on a port of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc.aio
import orjson
from grpc_health.v1 import health_pb2, health_pb2_grpc

from admin_service import __main__ as admin_main
from admin_service.config import Settings
from fastcms.admin.v1 import admin_pb2, admin_pb2_grpc, audit_pb2, audit_pb2_grpc, ip_rules_pb2_grpc, users_pb2_grpc
from fastcms_common.audit import AuditLog, build_event
from fastcms_common.channels import open_channel
from fastcms_common.context import Caller, RequestContext, bind
from fastcms_common.ids import new_id
from tests.contract.auth.server import AuthServer, key_file
from tests.in_process import running
from tests.ports import free_port

READY = health_pb2.HealthCheckRequest(service="ready")
USER_EMAIL, USER_PASSWORD = "ada@example.com", "another horse battery staple"


class AdminServer:
    """One replica, and stubs to it."""

    def __init__(self, settings: Settings, auth: AuthServer) -> None:
        self.settings = settings
        self.auth = auth
        self.redis = auth.redis
        self.call = auth.call
        self.channel: grpc.aio.Channel = open_channel(settings.listen)
        self.admin = admin_pb2_grpc.AdminServiceStub(self.channel)
        self.audit = audit_pb2_grpc.AuditServiceStub(self.channel)
        self.users = users_pb2_grpc.UsersServiceStub(self.channel)
        self.ip_rules = ip_rules_pb2_grpc.IpRulesServiceStub(self.channel)

    async def impersonate(self, user_id: str, bearer: str, **more: Any) -> admin_pb2.ImpersonateUserResponse:
        request = admin_pb2.ImpersonateUserRequest(user_id=user_id, **more)
        return await self.call(self.admin.ImpersonateUser, request, bearer)

    async def end(self, bearer: str) -> bool:
        answer = await self.call(self.admin.EndImpersonation, admin_pb2.EndImpersonationRequest(), bearer)
        return bool(answer.ended)

    async def events(self, bearer: str, **filters: Any) -> audit_pb2.ListAuditEventsResponse:
        return await self.call(self.audit.ListAuditEvents, audit_pb2.ListAuditEventsRequest(**filters), bearer)

    async def events_until(self, bearer: str, count: int, **filters: Any) -> list[audit_pb2.AuditEvent]:
        """The events that match, once there are `count` of them."""
        async with asyncio.timeout(20):
            while True:
                found = await self.events(bearer, **filters)
                if found.total >= count:
                    return list(found.items)
                await asyncio.sleep(0.02)

    async def until_ready(self) -> None:
        """Returns once the service has the keys that it verifies tokens with, and all else that it needs."""
        stub = health_pb2_grpc.HealthStub(self.channel.raw)  # type: ignore[attr-defined]
        watch = stub.Watch(READY)
        async with asyncio.timeout(20):
            status = None
            while status != health_pb2.HealthCheckResponse.SERVING:
                status = (await watch.read()).status
        watch.cancel()

    async def verify(self, bearer: str) -> Any:
        """`ok, checked, first_bad, reason`."""
        asked = RequestContext(new_id(), caller=Caller("x", "user"), token=bearer)
        with bind(asked):
            answers = [one async for one in self.audit.VerifyAuditLog(audit_pb2.VerifyAuditLogRequest())]
        (answer,) = answers
        return SimpleNamespace(**orjson.loads(answer.data))

    async def record(self, action: str, **facts: Any) -> None:
        """Writes an event as any service does."""
        event = build_event("system", action, description=action, **facts)
        await AuditLog(self.redis).publish(event)


def given(auth: AuthServer, folder: Path, storage_url: str) -> Mapping[str, Any]:
    """The settings of a replica."""
    return {
        "listen": f"127.0.0.1:{free_port()}",
        "data_dir": folder,
        "redis_url": auth.settings.redis_url,
        "storage_url": storage_url,
        "service_key_file": key_file(auth.settings.service_key_file),
        "auth_service": auth.settings.listen,
        "leaving_seconds": 0,
        "drain_seconds": 0,
    }


@asynccontextmanager
async def admin_server(
    auth: AuthServer, folder: Path, storage_url: str = "", **settings: Any
) -> AsyncIterator[AdminServer]:
    """Starts a replica; several in one folder, or with one `storage_url`, share the database."""
    chosen = Settings(**(given(auth, folder, storage_url or f"sqlite:///{folder}/admin.db") | settings))
    server = AdminServer(chosen, auth)
    async with running(admin_main.main(chosen), chosen.listen, server.channel):
        await server.until_ready()
        yield server
