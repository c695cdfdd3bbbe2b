"""auth-service as it really is, wired by its own `main`, on a port and a database of the test's own."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import orjson
from google.api.httpbody_pb2 import HttpBody
from redis.asyncio import Redis

from auth_service import __main__ as auth_main
from auth_service.config import Settings
from fastcms.admin.v1.audit_pb2 import AuditEvent
from fastcms.auth.v1 import (
    auth_pb2,
    auth_pb2_grpc,
    credentials_pb2_grpc,
    identities_pb2,
    identities_pb2_grpc,
    keys_pb2,
    keys_pb2_grpc,
    mfa_pb2_grpc,
    oauth_pb2_grpc,
    settings_pb2_grpc,
)
from fastcms_common import context
from fastcms_common.audit import EVENT_FIELD
from fastcms_common.channels import open_channel
from fastcms_common.context import Caller, RequestContext
from fastcms_common.ids import new_id
from fastcms_common.redis_connection import connect
from fastcms_common.redis_keys import AUDIT_EVENTS
from fastcms_common.service_tokens import proof_of, read_key
from tests.in_process import running
from tests.ports import free_port

EMAIL = "root@example.com"
PASSWORD = "correct horse battery staple"


class AuthServer:
    """One replica, and stubs to it."""

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self.settings = settings
        self.redis = redis
        self.fence = 0
        self.channel: grpc.aio.Channel = open_channel(settings.listen)
        self.auth = auth_pb2_grpc.AuthServiceStub(self.channel)
        self.identities = identities_pb2_grpc.IdentitiesServiceStub(self.channel)
        self.credentials = credentials_pb2_grpc.CredentialsServiceStub(self.channel)
        self.oauth = oauth_pb2_grpc.OAuthServiceStub(self.channel)
        self.providers = oauth_pb2_grpc.OAuthProvidersServiceStub(self.channel)
        self.mfa = mfa_pb2_grpc.MfaServiceStub(self.channel)
        self.live_settings = settings_pb2_grpc.SettingsServiceStub(self.channel)
        self.keys = keys_pb2_grpc.KeysServiceStub(self.channel)

    async def call(self, method: Any, request: Any, bearer: str | None = None, ip: str = "10.0.0.9") -> Any:
        """Calls with this token, from this address."""
        caller = Caller("x", "user") if bearer else None
        asked = RequestContext(new_id(), client_ip=ip, user_agent="test agent", caller=caller, token=bearer)
        with context.bind(asked):
            return await method(request)

    async def register(self, email: str = EMAIL, password: str = PASSWORD, **more: Any) -> auth_pb2.LoginAnswer:
        bearer = more.pop("bearer", None)
        request = auth_pb2.RegisterRequest(email=email, password=password, **more)
        return await self.call(self.auth.Register, request, bearer)

    async def login(self, email: str = EMAIL, password: str = PASSWORD, **more: Any) -> auth_pb2.LoginAnswer:
        ip = more.pop("ip", "10.0.0.9")
        return await self.call(self.auth.Login, auth_pb2.LoginRequest(email=email, password=password, **more), ip=ip)

    async def refresh(self, token: str, collection: str = "") -> auth_pb2.LoginAnswer:
        request = auth_pb2.RefreshRequest(refresh_token=token, collection=collection)
        return await self.call(self.auth.Refresh, request)

    async def me(self, bearer: str, collection: str = "") -> dict[str, Any]:
        answer = await self.call(self.auth.GetMe, auth_pb2.GetMeRequest(collection=collection), bearer)
        return orjson.loads(answer.data)

    async def join(self, body: Any, collection: str = "customers") -> auth_pb2.LoginAnswer:
        """Registers a member from a body: an object, or the bytes of one."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        request = auth_pb2.RegisterMemberRequest(collection=collection, body=HttpBody(data=raw))
        return await self.call(self.auth.RegisterMember, request)

    async def service_token(self, service: str = "admin-service") -> str:
        now = int(time.time())
        proof = proof_of(read_key(self.settings.service_key_file), service, now)
        request = keys_pb2.IssueServiceTokenRequest(service=service, timestamp=now, proof=proof)
        return (await self.call(self.keys.IssueServiceToken, request)).access_token

    async def reconcile(self) -> identities_pb2.ReconcileIdentitiesResponse:
        """Runs the job."""
        self.fence += 1
        request = identities_pb2.ReconcileIdentitiesRequest(fencing_token=self.fence)
        return await self.call(self.identities.ReconcileIdentities, request, await self.service_token())

    async def audit(self, action: str) -> list[AuditEvent]:
        """The audit events of this action so far."""
        entries = await self.redis.xrange(AUDIT_EVENTS)
        events = [AuditEvent.FromString(fields[EVENT_FIELD.encode()]) for _, fields in entries]
        return [event for event in events if event.event_action == action]


def key_file(path: Path) -> Path:
    """A key file as the run command makes it; kept where it exists."""
    if not path.exists():
        path.write_bytes(base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"="))
    return path


@asynccontextmanager
async def auth_server(folder: Path, redis_url: str, **settings: Any) -> AsyncIterator[AuthServer]:
    """Starts a replica; several in one folder share database and keys."""
    given = {
        "listen": f"127.0.0.1:{free_port()}",
        "data_dir": folder,
        "redis_url": redis_url,
        "storage_url": f"sqlite:///{folder}/auth.db",
        "service_key_file": key_file(folder / "service.key"),
        "master_key_file": key_file(folder / "master.key"),
        "leaving_seconds": 0,
        "drain_seconds": 0,
    } | settings
    redis = connect(redis_url)
    server = AuthServer(Settings(**given), redis)
    try:
        async with running(auth_main.main(server.settings), server.settings.listen, server.channel):
            yield server
    finally:
        await redis.aclose()
