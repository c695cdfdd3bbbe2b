"""Messages in, messages out: accounts. Who may do what to whom is for auth-service to say, asked as the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask

from admin_service.audit_trail import AuditTrail
from admin_service.models import user_summary
from fastcms.admin.v1 import users_pb2, users_pb2_grpc
from fastcms.auth.v1 import credentials_pb2, identities_pb2
from fastcms_common.context import BUILT_IN_REALM

if TYPE_CHECKING:
    from fastcms.auth.v1.credentials_pb2_grpc import CredentialsServiceAsyncStub
    from fastcms.auth.v1.identities_pb2_grpc import IdentitiesServiceAsyncStub

Context = Any


class UsersServicer(users_pb2_grpc.UsersServiceServicer):
    """The accounts of all realms."""

    def __init__(
        self, identities: IdentitiesServiceAsyncStub, credentials: CredentialsServiceAsyncStub, trail: AuditTrail
    ) -> None:
        self._identities = identities
        self._credentials = credentials
        self._trail = trail

    async def ListUsers(self, request: users_pb2.ListUsersRequest, _: Context) -> users_pb2.ListUsersResponse:
        found = await self._identities.ListIdentities(
            identities_pb2.ListIdentitiesRequest(
                page=request.page if request.HasField("page") else None,
                per_page=request.per_page if request.HasField("per_page") else None,
                search=request.search,
                role=request.role,
                verified=request.verified if request.HasField("verified") else None,
                collection=request.collection,
                sort=request.sort,
            )
        )
        return users_pb2.ListUsersResponse(
            items=map(user_summary, found.items),
            total=found.total,
            page=found.page,
            per_page=found.per_page,
            total_pages=found.total_pages,
        )

    async def CreateUser(self, request: users_pb2.CreateUserRequest, _: Context) -> identities_pb2.Identity:
        return await self._identities.CreateIdentity(
            identities_pb2.CreateIdentityRequest(
                email=request.email,
                password=request.password,
                name=request.name if request.HasField("name") else None,
                role=request.role if request.HasField("role") else None,
                superadmin=request.superadmin,
                verified=request.verified,
                collection=request.collection,
                data=request.data,
            )
        )

    async def GetUser(self, request: users_pb2.GetUserRequest, _: Context) -> identities_pb2.Identity:
        return await self._identities.GetIdentity(identities_pb2.GetIdentityRequest(id=request.user_id))

    async def UpdateUser(self, request: users_pb2.UpdateUserRequest, _: Context) -> identities_pb2.Identity:
        names = list(request.update_mask.paths)
        values: dict[str, Any] = {field.name: value for field, value in request.ListFields() if field.name in names}
        return await self._identities.UpdateIdentity(
            identities_pb2.UpdateIdentityRequest(id=request.user_id, update_mask=FieldMask(paths=names), **values)
        )

    async def DeleteUser(self, request: users_pb2.DeleteUserRequest, _: Context) -> Empty:
        await self._identities.DeleteIdentity(identities_pb2.DeleteIdentityRequest(id=request.user_id))
        return Empty()

    async def DisableUser(self, request: users_pb2.DisableUserRequest, _: Context) -> identities_pb2.Identity:
        message = identities_pb2.DisableIdentityRequest(id=request.user_id)
        return await self._identities.DisableIdentity(message)

    async def EnableUser(self, request: users_pb2.EnableUserRequest, _: Context) -> identities_pb2.Identity:
        message = identities_pb2.EnableIdentityRequest(id=request.user_id)
        return await self._identities.EnableIdentity(message)

    async def ListUserSessions(
        self, request: users_pb2.ListUserSessionsRequest, _: Context
    ) -> users_pb2.ListUserSessionsResponse:
        message = identities_pb2.ListIdentitySessionsRequest(id=request.user_id)
        found = await self._identities.ListIdentitySessions(message)
        return users_pb2.ListUserSessionsResponse(sessions=found.sessions)

    async def RevokeUserSession(self, request: users_pb2.RevokeUserSessionRequest, _: Context) -> Empty:
        message = identities_pb2.RevokeIdentitySessionRequest(id=request.user_id, session_id=request.session_id)
        await self._identities.RevokeIdentitySession(message)
        return Empty()

    async def RevokeUserSessions(
        self, request: users_pb2.RevokeUserSessionsRequest, _: Context
    ) -> users_pb2.RevokeUserSessionsResponse:
        message = identities_pb2.RevokeIdentitySessionsRequest(id=request.user_id)
        ended = await self._identities.RevokeIdentitySessions(message)
        return users_pb2.RevokeUserSessionsResponse(revoked=ended.revoked)

    async def RequestUserPasswordReset(
        self, request: users_pb2.RequestUserPasswordResetRequest, _: Context
    ) -> users_pb2.RequestUserPasswordResetResponse:
        identity = await self._identities.GetIdentity(identities_pb2.GetIdentityRequest(id=request.user_id))
        collection = "" if identity.collection == BUILT_IN_REALM else identity.collection
        await self._credentials.RequestPasswordReset(
            credentials_pb2.RequestPasswordResetRequest(collection=collection, email=identity.email)
        )
        await self._trail.record(
            "admin",
            "password_reset_requested",
            resource_type="user",
            resource_id=identity.id,
            description=f"A password reset was mailed to {identity.email}.",
        )
        return users_pb2.RequestUserPasswordResetResponse(message="A link to set a new password is on its way.")
