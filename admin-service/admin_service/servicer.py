"""Messages in, messages out: impersonation and locks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from admin_service.impersonations import Impersonations
from fastcms.admin.v1 import admin_pb2, admin_pb2_grpc
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

    async def GetLockStatus(self, request: admin_pb2.GetLockStatusRequest, _: Context) -> identities_pb2.LockStatus:
        return await self._identities.GetLockStatus(identities_pb2.GetLockStatusRequest(id=request.user_id))

    async def UnlockUser(self, request: admin_pb2.UnlockUserRequest, _: Context) -> identities_pb2.Identity:
        return await self._identities.UnlockIdentity(identities_pb2.UnlockIdentityRequest(id=request.user_id))
