"""AuthService: message in, message out."""

from __future__ import annotations

from typing import Any

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty

from auth_service import messages
from auth_service.accounts import Accounts
from auth_service.impersonations import Impersonations
from auth_service.members import Members
from auth_service.people import People
from auth_service.realms import Realms
from auth_service.sessions import Sessions, no_session
from auth_service.sign_in import SignedIn, SignIn
from fastcms.auth.v1 import auth_pb2, auth_pb2_grpc
from fastcms_common.context import Caller, current
from fastcms_common.errors import Unauthenticated

SHOWN_IMPERSONATIONS = 500


class AuthServicer(auth_pb2_grpc.AuthServiceServicer):
    """Accounts, sign-in and sessions."""

    def __init__(
        self,
        realms: Realms,
        accounts: Accounts,
        members: Members,
        sign_in: SignIn,
        sessions: Sessions,
        people: People,
        impersonations: Impersonations,
    ) -> None:
        self._realms = realms
        self._accounts = accounts
        self._members = members
        self._sign_in = sign_in
        self._sessions = sessions
        self._people = people
        self._impersonations = impersonations

    async def Register(self, request: auth_pb2.RegisterRequest, context: Any) -> auth_pb2.LoginAnswer:
        identity = await self._accounts.register(
            current().caller,
            request.email,
            request.password,
            request.name if request.HasField("name") else None,
            request.role if request.HasField("role") else None,
            request.setup_token,
        )
        return login_answer(await self._sign_in.finish(identity, "registration"))

    async def GetSetup(self, request: auth_pb2.GetSetupRequest, context: Any) -> auth_pb2.Setup:
        needed = await self._accounts.setup_needed()
        return auth_pb2.Setup(needed=needed, token_required=needed and self._accounts.setup_token_required)

    async def RegisterMember(self, request: auth_pb2.RegisterMemberRequest, context: Any) -> auth_pb2.LoginAnswer:
        realm = await self._realms.resolve(request.collection)
        identity = await self._members.register(realm, request.body.data)
        return login_answer(await self._sign_in.finish(identity, "registration"))

    async def Login(self, request: auth_pb2.LoginRequest, context: Any) -> auth_pb2.LoginAnswer:
        realm = await self._realms.resolve(request.collection)
        code = request.mfa_code if request.HasField("mfa_code") else None
        return login_answer(await self._sign_in.with_password(realm, request.email, request.password, code))

    async def Refresh(self, request: auth_pb2.RefreshRequest, context: Any) -> auth_pb2.LoginAnswer:
        realm = await self._realms.resolve(request.collection)
        return login_answer(await self._sign_in.refresh(realm, request.refresh_token))

    async def GetMe(self, request: auth_pb2.GetMeRequest, context: Any) -> HttpBody:
        return json_body(await self._people.show(await self._people.caller(request.collection)))

    async def GetHolder(self, request: auth_pb2.GetHolderRequest, context: Any) -> HttpBody:
        return json_body(await self._people.show(await self._people.caller()))

    async def UpdateMe(self, request: auth_pb2.UpdateMeRequest, context: Any) -> HttpBody:
        identity = await self._people.caller("")
        if "name" in request.update_mask.paths:
            name = request.name if request.HasField("name") else None
            identity = await self._accounts.rename(identity.id, name)
        return json_body(await self._people.show(identity))

    async def Logout(self, request: auth_pb2.LogoutRequest, context: Any) -> Empty:
        await self._sign_in.out(await self._holder(request.collection), request.refresh_token)
        return Empty()

    async def ListMyImpersonations(
        self, request: auth_pb2.ListMyImpersonationsRequest, context: Any
    ) -> auth_pb2.ListMyImpersonationsResponse:
        caller = await self._holder(request.collection)
        grants = await self._impersonations.of_target(caller.id, SHOWN_IMPERSONATIONS)
        return auth_pb2.ListMyImpersonationsResponse(impersonations=[messages.impersonation(one) for one in grants])

    async def ListSessions(self, request: auth_pb2.ListSessionsRequest, context: Any) -> auth_pb2.ListSessionsResponse:
        caller = await self._holder(request.collection)
        found = await self._sessions.of_user(caller.id)
        # What admins do in someone's name is shown as such, not as a device of theirs.
        own = [messages.session(one, caller.session_id) for one in found if one.actor_id is None]
        return auth_pb2.ListSessionsResponse(sessions=own)

    async def ListSessionEvents(
        self, request: auth_pb2.ListSessionEventsRequest, context: Any
    ) -> auth_pb2.ListSessionEventsResponse:
        caller = await self._holder(request.collection)
        events = await self._sessions.lineage(request.id, caller.id)
        if events is None:
            raise no_session()
        return auth_pb2.ListSessionEventsResponse(events=[messages.session_event(one) for one in events])

    async def RevokeSession(self, request: auth_pb2.RevokeSessionRequest, context: Any) -> Empty:
        caller = await self._holder(request.collection)
        if not await self._sign_in.revoke(caller, request.id):
            raise no_session()
        return Empty()

    async def RevokeAllSessions(self, request: auth_pb2.RevokeAllSessionsRequest, context: Any) -> Empty:
        caller = await self._holder(request.collection)
        await self._sign_in.revoke_all(caller)
        return Empty()

    async def _holder(self, collection: str) -> Caller:
        """The caller, found to be of the realm in the path."""
        caller = current().caller
        if caller is None:
            raise Unauthenticated
        (await self._realms.resolve(collection)).admit(caller)
        return caller


def json_body(text: bytes) -> HttpBody:
    """JSON text as it is."""
    return HttpBody(content_type="application/json", data=text)


def login_answer(signed_in: SignedIn) -> auth_pb2.LoginAnswer:
    """What every way of signing in answers."""
    return auth_pb2.LoginAnswer(
        access_token=signed_in.access_token,
        refresh_token=signed_in.refresh_token,
        token_type="bearer",
        expires_in=signed_in.expires_in,
        user=signed_in.user,
    )
