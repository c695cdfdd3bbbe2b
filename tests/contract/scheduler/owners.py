"""The services that own the work of tasks, reduced to what tasks see of them: they are called, check the fencing token,
do something once, and may take their time. Beside them the keys that everybody verifies tokens with."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.api.httpbody_pb2 import HttpBody

from fastcms.admin.v1 import audit_pb2, audit_pb2_grpc, ip_rules_pb2, ip_rules_pb2_grpc
from fastcms.auth.v1 import identities_pb2, identities_pb2_grpc, keys_pb2, keys_pb2_grpc
from fastcms.collections.v1 import jobs_pb2, jobs_pb2_grpc, records_pb2_grpc
from fastcms_common.errors import DomainError, Stale, Unavailable
from fastcms_common.ids import new_id
from fastcms_common.tokens import ALGORITHM, AUDIENCE, TOKEN_TYPE
from fastcms_common.wire import DETAILS, status_of


class Signer(keys_pb2_grpc.KeysServiceServicer):
    """Issues tokens as auth-service does."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    def token(self, subject: str, role: str, **claims: Any) -> str:
        now = int(time.time())
        body = {"iss": "fastcms", "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 3600, "jti": new_id()}
        body |= {"role": role} | claims
        return jwt.encode(body, self._key, algorithm=ALGORITHM, headers={"kid": "k1", "typ": TOKEN_TYPE})

    async def GetKeySet(self, request: Any, context: Any) -> HttpBody:
        x = base64.urlsafe_b64encode(self._key.public_key().public_bytes_raw()).rstrip(b"=").decode()
        keys = [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x, "alg": ALGORITHM}]
        return HttpBody(content_type="application/json", data=orjson.dumps({"keys": keys}))

    async def IssueServiceToken(self, request: Any, context: Any) -> keys_pb2.IssueServiceTokenResponse:
        token = self.token(f"service:{request.service}", "service")
        return keys_pb2.IssueServiceTokenResponse(access_token=token, expires_in=300)


@dataclass
class Owner:
    """One rpc that does something. `effects` are the fencing tokens of the calls that changed something."""

    calls: int = 0
    effects: list[int] = field(default_factory=list)
    held: asyncio.Event | None = None
    failure: DomainError | None = None
    highest: int = 0

    def hold(self) -> asyncio.Event:
        """From now on calls wait; setting the event lets them go on."""
        self.held = asyncio.Event()
        return self.held

    async def work(self, fencing_token: int, context: grpc.aio.ServicerContext[Any, Any]) -> int:
        self.calls += 1
        self.highest = max(self.highest, fencing_token)
        if self.held is not None:
            await self.held.wait()
        error = self.failure
        if fencing_token < self.highest:
            error = Stale("Another worker has the lease.", reason="LEASE_LOST")
        if error is not None:
            details = ((DETAILS, status_of(error).SerializeToString()),)
            await context.abort(error.code, error.detail, trailing_metadata=details)
        self.effects.append(fencing_token)
        return len(self.effects)


class Identities(identities_pb2_grpc.IdentitiesServiceServicer):
    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    async def DeleteExpiredTokens(self, request: Any, context: Any) -> identities_pb2.DeleteExpiredTokensResponse:
        deleted = await self._owner.work(request.fencing_token, context)
        return identities_pb2.DeleteExpiredTokensResponse(deleted=deleted)


class IpRules(ip_rules_pb2_grpc.IpRulesServiceServicer):
    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    async def DeleteExpiredIpRules(self, request: Any, context: Any) -> ip_rules_pb2.DeleteExpiredIpRulesResponse:
        deleted = await self._owner.work(request.fencing_token, context)
        return ip_rules_pb2.DeleteExpiredIpRulesResponse(deleted=deleted)


class Audit(audit_pb2_grpc.AuditServiceServicer):
    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    async def DeleteOldAuditEvents(self, request: Any, context: Any) -> audit_pb2.DeleteOldAuditEventsResponse:
        deleted = await self._owner.work(request.fencing_token, context)
        return audit_pb2.DeleteOldAuditEventsResponse(deleted=deleted)


class Jobs(jobs_pb2_grpc.JobsServiceServicer):
    def __init__(self) -> None:
        self.truncated: list[jobs_pb2.TruncateForJobRequest] = []

    async def TruncateForJob(self, request: Any, context: Any) -> jobs_pb2.TruncateForJobResponse:
        self.truncated.append(request)
        return jobs_pb2.TruncateForJobResponse(deleted_count=7)


class Records(records_pb2_grpc.RecordsServiceServicer):
    def __init__(self) -> None:
        self.exported: list[tuple[str, str]] = []
        self.parts = [b'{"id":"1"}\n', b'{"id":"2"}\n']
        self.held: asyncio.Event | None = None

    async def ExportRecords(self, request: Any, context: Any) -> AsyncIterator[HttpBody]:
        self.exported.append((request.collection, request.format))
        for part in self.parts:
            yield HttpBody(data=part)
            if self.held is not None:
                await self.held.wait()


class Owners:
    """All of them on one port."""

    def __init__(self) -> None:
        self.signer = Signer()
        self.tokens = Owner()
        self.ip_rules = Owner()
        self.audit = Owner()
        self.jobs = Jobs()
        self.records = Records()
        self._server = grpc.aio.server()
        keys_pb2_grpc.add_KeysServiceServicer_to_server(self.signer, self._server)
        identities_pb2_grpc.add_IdentitiesServiceServicer_to_server(Identities(self.tokens), self._server)
        ip_rules_pb2_grpc.add_IpRulesServiceServicer_to_server(IpRules(self.ip_rules), self._server)
        audit_pb2_grpc.add_AuditServiceServicer_to_server(Audit(self.audit), self._server)
        jobs_pb2_grpc.add_JobsServiceServicer_to_server(self.jobs, self._server)
        records_pb2_grpc.add_RecordsServiceServicer_to_server(self.records, self._server)
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        for owner in (self.tokens, self.ip_rules, self.audit):
            if owner.held is not None:
                owner.held.set()
        if self.records.held is not None:
            self.records.held.set()
        await self._server.stop(0.2)


DOWN = Unavailable("The owner is down.")
