"""MfaService and SettingsService: message in, message out."""

from __future__ import annotations

from typing import Any

import msgspec
from google.protobuf.empty_pb2 import Empty

from auth_service.auth_settings import AuthSettings
from auth_service.mails import Mails
from auth_service.models import Identity
from auth_service.people import People
from auth_service.realms import Realms
from auth_service.second_factors import SecondFactors
from auth_service.settings_changes import SettingsChanges
from auth_service.sign_in import SignIn
from fastcms.auth.v1 import mfa_pb2, mfa_pb2_grpc, settings_pb2, settings_pb2_grpc
from fastcms_common.errors import Conflict, FieldError, Invalid
from fastcms_common.live_settings import LiveSettings


class MfaServicer(mfa_pb2_grpc.MfaServiceServicer):
    """Second factors."""

    def __init__(self, realms: Realms, people: People, factors: SecondFactors, sign_in: SignIn) -> None:
        self._realms = realms
        self._people = people
        self._factors = factors
        self._sign_in = sign_in

    async def GetMfa(self, request: mfa_pb2.GetMfaRequest, context: Any) -> mfa_pb2.Mfa:
        identity = await self._people.caller(request.collection)
        factor = identity.second_factor
        left = len(factor.recovery_codes) if factor is not None and factor.enabled else 0
        return mfa_pb2.Mfa(enabled=identity.mfa_enabled, recovery_codes_left=left)

    async def SetUpMfa(self, request: mfa_pb2.SetUpMfaRequest, context: Any) -> mfa_pb2.SetUpMfaResponse:
        identity = await self._people.caller(request.collection)
        setup = await self._factors.setup(await self._realms.resolve(request.collection), identity)
        return mfa_pb2.SetUpMfaResponse(secret=setup.secret, otpauth_url=setup.otpauth_url, qr_svg=setup.qr_svg)

    async def EnableMfa(self, request: mfa_pb2.EnableMfaRequest, context: Any) -> mfa_pb2.RecoveryCodes:
        identity = await self._people.caller(request.collection)
        codes = await self._factors.enable(await self._realms.resolve(request.collection), identity, request.code)
        return mfa_pb2.RecoveryCodes(recovery_codes=codes)

    async def DisableMfa(self, request: mfa_pb2.DisableMfaRequest, context: Any) -> Empty:
        await self._factors.disable(await self._confirmed(request))
        return Empty()

    async def RenewRecoveryCodes(
        self, request: mfa_pb2.RenewRecoveryCodesRequest, context: Any
    ) -> mfa_pb2.RecoveryCodes:
        codes = await self._factors.renew_codes(await self._confirmed(request))
        return mfa_pb2.RecoveryCodes(recovery_codes=codes)

    async def _confirmed(self, request: mfa_pb2.DisableMfaRequest | mfa_pb2.RenewRecoveryCodesRequest) -> Identity:
        """The caller, who has a second factor and has shown to be no mere holder of their token."""
        identity = await self._people.caller(request.collection)
        if not identity.mfa_enabled:
            raise Conflict("There is no second factor.", reason="MFA_NOT_ENABLED")
        if not request.password and not request.code:
            sentence = "Either the password or a code is required."
            raise Invalid([FieldError("password", sentence), FieldError("code", sentence)])
        if request.password:
            await self._sign_in.confirm(identity, request.password, "password")
        if request.code:
            await self._sign_in.confirm_code(identity, request.code)
        return identity


class SettingsServicer(settings_pb2_grpc.SettingsServiceServicer):
    """The settings of category auth, and a try of those of category mail."""

    def __init__(self, changes: SettingsChanges, mails: Mails, followed: LiveSettings) -> None:
        self._changes = changes
        self._mails = mails
        self._followed = followed

    async def GetAuthSettings(
        self, request: settings_pb2.GetAuthSettingsRequest, context: Any
    ) -> settings_pb2.AuthSettings:
        return _message(await self._changes.read())

    async def UpdateAuthSettings(
        self, request: settings_pb2.UpdateAuthSettingsRequest, context: Any
    ) -> settings_pb2.AuthSettings:
        wanted = {
            name: getattr(request, name) if request.HasField(name) else None  # type: ignore[arg-type]
            for name in request.update_mask.paths
        }
        return _message(await self._changes.write(wanted))

    async def SendTestMail(
        self, request: settings_pb2.SendTestMailRequest, context: Any
    ) -> settings_pb2.SendTestMailResponse:
        # What was set a moment ago is what is to be tried, even if word of it is still on its way.
        await self._followed.prepare()
        address, sentence = await self._mails.send_test(request.to)
        return settings_pb2.SendTestMailResponse(to=address, message=sentence)


def _message(settings: AuthSettings) -> settings_pb2.AuthSettings:
    return settings_pb2.AuthSettings(**msgspec.structs.asdict(settings))
