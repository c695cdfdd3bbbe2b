"""AuthService: message in, message out."""

from __future__ import annotations

from typing import Any

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty

from auth_service import messages
from auth_service.accounts import Accounts, user_json
from auth_service.sessions import Sessions
from auth_service.sign_in import SignedIn, SignIn
from auth_service.store import AuthStore
from fastcms.auth.v1 import auth_pb2, auth_pb2_grpc
from fastcms_common.context import BUILT_IN_REALM, Caller, current
from fastcms_common.errors import NotFound, Unauthenticated


class AuthServicer(auth_pb2_grpc.AuthServiceServicer):
    """Accounts, sign-in and sessions."""

    def __init__(self, accounts: Accounts, sign_in: SignIn, sessions: Sessions, store: AuthStore) -> None:
        self._accounts = accounts
        self._sign_in = sign_in
        self._sessions = sessions
        self._store = store

    async def Register(self, request: auth_pb2.RegisterRequest, context: Any) -> auth_pb2.LoginAnswer:
        identity = await self._accounts.register(
            current().caller,
            request.email,
            request.password,
            request.name if request.HasField("name") else None,
            request.role if request.HasField("role") else None,
            request.setup_token,
        )
        return _answer(await self._sign_in.finish(identity, "registration"))

    async def Login(self, request: auth_pb2.LoginRequest, context: Any) -> auth_pb2.LoginAnswer:
        return _answer(await self._sign_in.with_password(BUILT_IN_REALM, request.email, request.password))

    async def Refresh(self, request: auth_pb2.RefreshRequest, context: Any) -> auth_pb2.LoginAnswer:
        return _answer(await self._sign_in.refresh(request.refresh_token))

    async def GetMe(self, request: auth_pb2.GetMeRequest, context: Any) -> HttpBody:
        identity = await self._store.identity(_caller().id)
        if identity is None or identity.state != "active":
            raise Unauthenticated("This account is gone.", reason="ACCOUNT_GONE")
        return HttpBody(content_type="application/json", data=user_json(identity))

    async def Logout(self, request: auth_pb2.LogoutRequest, context: Any) -> Empty:
        caller = _caller()
        await self._sign_in.out(caller, request.refresh_token)
        return Empty()

    async def ListSessions(self, request: auth_pb2.ListSessionsRequest, context: Any) -> auth_pb2.ListSessionsResponse:
        caller = _caller()
        found = await self._sessions.of_user(caller.id)
        # What admins do in someone's name is shown as such, not as a device of theirs.
        own = [messages.session(one, caller.session_id) for one in found if one.actor_id is None]
        return auth_pb2.ListSessionsResponse(sessions=own)

    async def RevokeSession(self, request: auth_pb2.RevokeSessionRequest, context: Any) -> Empty:
        if not await self._sessions.end(request.id, _caller().id):
            raise NotFound("There is no such session.", reason="SESSION_NOT_FOUND")
        return Empty()

    async def RevokeAllSessions(self, request: auth_pb2.RevokeAllSessionsRequest, context: Any) -> Empty:
        await self._sessions.end_all(_caller().id)
        return Empty()


def _caller() -> Caller:
    caller = current().caller
    if caller is None:
        raise Unauthenticated
    return caller


def _answer(signed_in: SignedIn) -> auth_pb2.LoginAnswer:
    return auth_pb2.LoginAnswer(
        access_token=signed_in.access_token,
        refresh_token=signed_in.refresh_token,
        token_type="bearer",
        expires_in=signed_in.expires_in,
        user=user_json(signed_in.identity),
    )
