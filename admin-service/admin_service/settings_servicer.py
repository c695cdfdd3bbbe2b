"""Messages in, messages out: settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from admin_service.runtime_settings import RuntimeSettings
from admin_service.settings_categories import AUTH, Category, Values, request_of
from fastcms.admin.v1 import settings_pb2, settings_pb2_grpc
from fastcms.auth.v1 import settings_pb2 as auth_settings_pb2
from fastcms_common.errors import FieldError, Invalid

if TYPE_CHECKING:
    from fastcms.auth.v1.settings_pb2_grpc import SettingsServiceAsyncStub

Context = Any


class SettingsServicer(settings_pb2_grpc.SettingsServiceServicer):
    """Reading and changing settings; those of the category `auth` by way of auth-service."""

    def __init__(
        self, settings: RuntimeSettings, categories: Mapping[str, Category], auth: SettingsServiceAsyncStub
    ) -> None:
        self._settings = settings
        self._categories = categories
        self._auth = auth

    async def GetSettings(self, _: settings_pb2.GetSettingsRequest, __: Context) -> settings_pb2.Settings:
        auth = await self._auth.GetAuthSettings(auth_settings_pb2.GetAuthSettingsRequest())
        return settings_pb2.Settings(auth=auth, **{name: await self._shown(name) for name in self._categories})

    async def UpdateSettings(
        self, request: settings_pb2.UpdateSettingsRequest, context: Context
    ) -> settings_pb2.Settings:
        # All are read before any is changed, and the one that is judged elsewhere goes first: a bad value leaves
        # everything as it was.
        changes: dict[str, Values] = {}
        auth: Any = None
        problems: list[FieldError] = []
        for field, text in request.ListFields():
            try:
                if field.name == "auth":
                    auth = request_of("auth", text, AUTH)
                else:
                    changes[field.name] = self._categories[field.name].parsed(text)
            except Invalid as error:
                problems += error.fields
        if problems:
            raise Invalid(problems)
        if auth is not None:
            await self._change_auth(auth)
        for name, values in changes.items():
            await self._settings.change(self._categories[name], values)
        return await self.GetSettings(settings_pb2.GetSettingsRequest(), context)

    async def GetRateLimitSettings(
        self, _: settings_pb2.GetRateLimitSettingsRequest, __: Context
    ) -> settings_pb2.RateLimitSettings:
        shown: settings_pb2.RateLimitSettings = await self._shown("rate_limits")
        return shown

    async def UpdateRateLimitSettings(
        self, request: settings_pb2.UpdateRateLimitSettingsRequest, _: Context
    ) -> settings_pb2.RateLimitSettings:
        shown: settings_pb2.RateLimitSettings = await self._changed("rate_limits", request)
        return shown

    async def GetMailSettings(self, _: settings_pb2.GetMailSettingsRequest, __: Context) -> settings_pb2.MailSettings:
        shown: settings_pb2.MailSettings = await self._shown("mail")
        return shown

    async def UpdateMailSettings(
        self, request: settings_pb2.UpdateMailSettingsRequest, _: Context
    ) -> settings_pb2.MailSettings:
        shown: settings_pb2.MailSettings = await self._changed("mail", request)
        return shown

    async def GetGeneralSettings(
        self, _: settings_pb2.GetGeneralSettingsRequest, __: Context
    ) -> settings_pb2.GeneralSettings:
        shown: settings_pb2.GeneralSettings = await self._shown("general")
        return shown

    async def UpdateGeneralSettings(
        self, request: settings_pb2.UpdateGeneralSettingsRequest, _: Context
    ) -> settings_pb2.GeneralSettings:
        shown: settings_pb2.GeneralSettings = await self._changed("general", request)
        return shown

    async def _shown(self, name: str) -> Any:
        category = self._categories[name]
        return category.show(await self._settings.values(category))

    async def _changed(self, name: str, request: Any) -> Any:
        category = self._categories[name]
        return category.show(await self._settings.change(category, category.changes_of(request)))

    async def _change_auth(self, request: Any) -> None:
        try:
            await self._auth.UpdateAuthSettings(request)
        except Invalid as error:
            raise Invalid([FieldError(f"auth.{one.field}", one.message) for one in error.fields]) from error
