"""Changing the settings of category `auth` while everything runs.

What an admin has changed lies in one document, over the values of the environment. A change is announced in Redis, and
every replica reads it again; one that has missed an announcement does so a moment later by itself.
"""

from __future__ import annotations

from typing import Any

import msgspec
from redis.asyncio import Redis

from auth_service.auth_settings import AuthSettings, LiveSettings
from auth_service.store import AuthStore
from fastcms_common import redis_keys
from fastcms_common.audit import AuditLog
from fastcms_common.errors import FieldError, Invalid
from fastcms_common.following import follow
from fastcms_common.redis_connection import redis_errors

CATEGORY = "auth"
# Seconds after which a replica reads the settings again unasked.
_READ_EVERY = 5.0


class SettingsChanges:
    """Reading and writing the settings, and keeping this process's copy of them true."""

    def __init__(self, redis: Redis, store: AuthStore, live: LiveSettings, audit: AuditLog) -> None:
        self._redis = redis
        self._store = store
        self._live = live
        self._audit = audit

    async def read(self) -> AuthSettings:
        """The values in force, from where they are kept; this process goes by them from now on."""
        kept = await self._store.settings(CATEGORY)
        known = {name: value for name, value in kept.items() if name in AuthSettings.__struct_fields__}
        self._live.current = msgspec.structs.replace(self._live.first, **known)
        return self._live.current

    async def write(self, wanted: dict[str, Any]) -> AuthSettings:
        """Changes these keys, all of them or none. Invalid naming each that cannot be."""
        before = await self.read()
        nulls = [FieldError(name, "Must not be null.") for name, value in wanted.items() if value is None]
        if nulls:
            raise Invalid(nulls)
        after = msgspec.structs.replace(before, **wanted)
        if after.password_min_length > after.password_max_length:
            name = "password_min_length" if "password_min_length" in wanted else "password_max_length"
            raise Invalid.field(name, "The least length is above the greatest.")
        changed = {name: value for name, value in wanted.items() if getattr(before, name) != value}
        if not changed:
            return before
        await self._store.change_settings(CATEGORY, changed)
        with redis_errors():
            await self._redis.publish(redis_keys.SETTINGS_CHANGED, CATEGORY)
        await self._audit.record(
            "system",
            "settings_changed",
            severity="warning",
            resource_type="settings",
            resource_id=CATEGORY,
            description=f"Changed the settings {', '.join(sorted(changed))}",
            details={
                "old": {name: getattr(before, name) for name in changed},
                "new": changed,
            },
        )
        return await self.read()

    async def watch(self) -> None:
        """Keeps this process's copy true until cancelled."""
        await follow(self._redis, redis_keys.SETTINGS_CHANGED, self.read, _READ_EVERY)
