"""CredentialsService: message in, message out."""

from __future__ import annotations

from typing import Any

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty

from auth_service.credentials import Credentials
from auth_service.mail_requests import MailRequests
from auth_service.people import People
from auth_service.realms import Realms
from auth_service.servicer import json_body, login_answer
from fastcms.auth.v1 import auth_pb2, credentials_pb2, credentials_pb2_grpc
from fastcms_common.context import current

_IF_KNOWN = "If there is such an account, a mail is on its way."


class CredentialsServicer(credentials_pb2_grpc.CredentialsServiceServicer):
    """Passwords, addresses and one-time codes."""

    def __init__(self, realms: Realms, people: People, credentials: Credentials, requests: MailRequests) -> None:
        self._realms = realms
        self._people = people
        self._credentials = credentials
        self._requests = requests

    async def ChangePassword(self, request: credentials_pb2.ChangePasswordRequest, context: Any) -> Empty:
        identity = await self._people.caller(request.collection)
        caller = current().caller
        await self._credentials.change_password(
            identity, request.current_password, request.new_password, caller.session_id if caller else None
        )
        return Empty()

    async def RequestPasswordReset(
        self, request: credentials_pb2.RequestPasswordResetRequest, context: Any
    ) -> credentials_pb2.Accepted:
        await self._requests.put("password_reset", await self._realms.resolve(request.collection), request.email)
        return credentials_pb2.Accepted(message=_IF_KNOWN)

    async def ConfirmPasswordReset(self, request: credentials_pb2.ConfirmPasswordResetRequest, context: Any) -> Empty:
        realm = await self._realms.resolve(request.collection)
        await self._credentials.reset_password(realm, request.token, request.new_password)
        return Empty()

    async def RequestVerification(
        self, request: credentials_pb2.RequestVerificationRequest, context: Any
    ) -> credentials_pb2.Accepted:
        await self._requests.put("verification", await self._realms.resolve(request.collection), request.email)
        return credentials_pb2.Accepted(message=_IF_KNOWN)

    async def ConfirmVerification(self, request: credentials_pb2.ConfirmVerificationRequest, context: Any) -> HttpBody:
        realm = await self._realms.resolve(request.collection)
        return json_body(await self._people.show(await self._credentials.verify_email(realm, request.token)))

    async def RequestEmailChange(
        self, request: credentials_pb2.RequestEmailChangeRequest, context: Any
    ) -> credentials_pb2.Accepted:
        identity = await self._people.caller(request.collection)
        realm = await self._realms.resolve(request.collection)
        await self._credentials.request_email_change(realm, identity, request.new_email, request.password)
        return credentials_pb2.Accepted(message="A mail with a link is on its way to the new address.")

    async def ConfirmEmailChange(self, request: credentials_pb2.ConfirmEmailChangeRequest, context: Any) -> HttpBody:
        realm = await self._realms.resolve(request.collection)
        return json_body(await self._people.show(await self._credentials.change_email(realm, request.token)))

    async def RequestOtp(self, request: credentials_pb2.RequestOtpRequest, context: Any) -> credentials_pb2.Accepted:
        realm = await self._realms.resolve(request.collection)
        self._credentials.check_codes_on(realm)
        await self._requests.put("otp", realm, request.email)
        return credentials_pb2.Accepted(message="If there is such an account, a code is on its way.")

    async def VerifyOtp(self, request: credentials_pb2.VerifyOtpRequest, context: Any) -> auth_pb2.LoginAnswer:
        realm = await self._realms.resolve(request.collection)
        code = request.mfa_code if request.HasField("mfa_code") else None
        signed_in = await self._credentials.sign_in_with_code(realm, request.email, request.code, code)
        return login_answer(signed_in)
