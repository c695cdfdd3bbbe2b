"""Messages in, messages out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from admin_service import audit_events, models
from admin_service.impersonations import Impersonations
from admin_service.ip_rules import IpRules
from admin_service.store import AdminStore
from fastcms.admin.v1 import admin_pb2, admin_pb2_grpc, audit_pb2, audit_pb2_grpc, ip_rules_pb2, ip_rules_pb2_grpc
from fastcms.auth.v1 import identities_pb2

if TYPE_CHECKING:
    from fastcms.auth.v1.identities_pb2_grpc import IdentitiesServiceAsyncStub

Context = Any
"""The servicer context of grpc.aio, which nothing here asks for anything: the call is in `fastcms_common.context`."""

ISSUED = "Impersonation token issued. This token cannot be refreshed."


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """Impersonation and locks."""

    def __init__(self, impersonations: Impersonations, identities: IdentitiesServiceAsyncStub) -> None:
        self._impersonations = impersonations
        self._identities = identities

    async def ImpersonateUser(
        self, request: admin_pb2.ImpersonateUserRequest, _: Context
    ) -> admin_pb2.ImpersonateUserResponse:
        duration = request.duration if request.HasField("duration") else None
        reason = request.reason if request.HasField("reason") else None
        started = await self._impersonations.start(request.user_id, duration, reason)
        return admin_pb2.ImpersonateUserResponse(
            access_token=started.response.access_token,
            token_type="bearer",
            expires_in=started.duration,
            impersonated_user_id=started.response.target.id,
            message=ISSUED,
        )

    async def StartImpersonation(
        self, request: admin_pb2.StartImpersonationRequest, _: Context
    ) -> admin_pb2.StartImpersonationResponse:
        duration = request.duration if request.HasField("duration") else None
        reason = request.reason if request.HasField("reason") else None
        started = await self._impersonations.start(request.user_id, duration, reason)
        return admin_pb2.StartImpersonationResponse(
            token=started.response.access_token,
            user_id=started.response.target.id,
            expires_at=started.response.expires,
        )

    async def EndImpersonation(
        self, request: admin_pb2.EndImpersonationRequest, _: Context
    ) -> admin_pb2.EndImpersonationResponse:
        return admin_pb2.EndImpersonationResponse(ended=await self._impersonations.end())

    async def GetLockStatus(self, request: admin_pb2.GetLockStatusRequest, _: Context) -> admin_pb2.LockStatus:
        status = await self._identities.GetLockStatus(identities_pb2.GetLockStatusRequest(id=request.user_id))
        return admin_pb2.LockStatus(
            user_id=status.user_id,
            is_locked=status.is_locked,
            failed_login_attempts=status.failed_login_attempts,
            locked_until=status.locked_until if status.HasField("locked_until") else None,
            remaining_seconds=status.remaining_seconds,
        )

    async def UnlockUser(self, request: admin_pb2.UnlockUserRequest, _: Context) -> admin_pb2.ManagedUser:
        identity = await self._identities.UnlockIdentity(identities_pb2.UnlockIdentityRequest(id=request.user_id))
        return models.managed_user(identity)


class AuditServicer(audit_pb2_grpc.AuditServiceServicer):
    """The log."""

    def __init__(self, store: AdminStore) -> None:
        self._store = store

    async def ListAuditEvents(
        self, request: audit_pb2.ListAuditEventsRequest, _: Context
    ) -> audit_pb2.ListAuditEventsResponse:
        limit = request.limit if request.HasField("limit") else audit_events.LIMIT
        rows, total = await self._store.events(audit_events.where(request), limit, request.offset)
        return audit_pb2.ListAuditEventsResponse(
            items=map(models.event_of, rows), total=total, limit=limit, offset=request.offset
        )


class IpRulesServicer(ip_rules_pb2_grpc.IpRulesServiceServicer):
    """Which addresses may come in."""

    def __init__(self, rules: IpRules) -> None:
        self._rules = rules

    async def DeleteExpiredIpRules(
        self, request: ip_rules_pb2.DeleteExpiredIpRulesRequest, _: Context
    ) -> ip_rules_pb2.DeleteExpiredIpRulesResponse:
        return ip_rules_pb2.DeleteExpiredIpRulesResponse(
            deleted=await self._rules.delete_expired(request.fencing_token)
        )
