"""Messages in, messages out: settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from admin_service.runtime_settings import RuntimeSettings
from admin_service.settings_categories import Category, Values
from fastcms.admin.v1 import settings_pb2, settings_pb2_grpc
from fastcms_common.errors import FieldError, Invalid

Context = Any


class SettingsServicer(settings_pb2_grpc.SettingsServiceServicer):
    """Reading and changing settings."""

    def __init__(self, settings: RuntimeSettings, categories: Mapping[str, Category]) -> None:
        self._settings = settings
        self._categories = categories

    async def GetSettings(self, _: settings_pb2.GetSettingsRequest, __: Context) -> settings_pb2.Settings:
        return settings_pb2.Settings(**{name: await self._shown(name) for name in self._categories})

    async def UpdateSettings(self, request: settings_pb2.UpdateSettingsRequest, _: Context) -> settings_pb2.Settings:
        # All are read before any is changed: a bad value leaves everything as it was.
        changes: dict[str, Values] = {}
        problems: list[FieldError] = []
        for field, text in request.ListFields():
            try:
                changes[field.name] = self._categories[field.name].parsed(text)
            except Invalid as error:
                problems += error.fields
        if problems:
            raise Invalid(problems)
        for name, values in changes.items():
            await self._settings.change(self._categories[name], values)
        return await self.GetSettings(settings_pb2.GetSettingsRequest(), _)

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
        return category.message(await self._settings.values(category))

    async def _changed(self, name: str, request: Any) -> Any:
        category = self._categories[name]
        return category.message(await self._settings.change(category, category.changes_of(request)))
