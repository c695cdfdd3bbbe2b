"""Settings as they are kept, changed, and put in force everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NoReturn

from redis.asyncio import Redis

from admin_service.audit_trail import AuditTrail
from admin_service.settings_categories import Category, Values
from admin_service.store import AdminStore
from fastcms_common import redis_keys
from fastcms_common.errors import DomainError, Unavailable
from fastcms_common.live_settings import encode
from fastcms_common.logs import get_logger
from fastcms_common.redis_connection import redis_errors
from fastcms_common.sealing import Sealer

# Seconds between two comparisons of Redis with storage, and rounds in which writers of one category meet.
_LOOK = 0.5
_ROUNDS = 20
# KEYS: settings. ARGV: channel, category, version, copy. An older version never replaces a newer one.
_PUBLISH = """
local copy = redis.call('HGET', KEYS[1], ARGV[2])
if copy and cjson.decode(copy)['version'] > tonumber(ARGV[3]) then return 0 end
if copy == ARGV[4] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
"""

log = get_logger(__name__)


class RuntimeSettings:
    """The values in force: what was changed, over what the environment says. `watch()` runs beside the service."""

    def __init__(
        self,
        store: AdminStore,
        redis: Redis,
        trail: AuditTrail,
        categories: Mapping[str, Category],
        sealer: Sealer,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._redis = redis
        self._trail = trail
        self._categories = categories
        self._publish = redis.register_script(_PUBLISH)

    async def values(self, category: Category) -> Values:
        """All values of a category, secrets in the clear."""
        return self._opened(category, self._merged(category, await self._store.settings(category.name))[1])

    async def change(self, category: Category, changes: Values) -> Values:
        """Changes some values, audits those that became others with old and new, and puts them in force; all values."""
        for _ in range(_ROUNDS):
            stored = await self._store.settings(category.name)
            version, before = self._merged(category, stored)
            opened = self._opened(category, before)
            changed = {key: value for key, value in changes.items() if value != opened[key]}
            if not changed:
                return opened
            sealed = self._sealed(category, changed)
            kept = {**(stored["values"] if stored else {}), **sealed}
            if await self._store.keep_settings(category.name, kept, version):
                await self._record(category, opened, changed)
                await self._put_in_force(category, version + 1, before | sealed)
                return opened | changed
        raise Unavailable("Too many changes of these settings at once.", reason="SETTINGS_BUSY")

    async def renew_secrets(self) -> int:
        """Has secrets that were sealed with a key that is good still sealed with the one in force; how many. ValueError
        where one opens with none of the keys."""
        renewed = 0
        for category in self._categories.values():
            for _ in range(_ROUNDS):
                stored = await self._store.settings(category.name)
                fresh = self._renewed(category, stored["values"] if stored else {})
                if stored is None or not fresh:
                    break
                if await self._store.keep_settings(category.name, {**stored["values"], **fresh}, stored["version"]):
                    renewed += len(fresh)
                    version, values = self._merged(category, await self._store.settings(category.name))
                    await self._put_in_force(category, version, values)
        return renewed

    def _renewed(self, category: Category, values: Mapping[str, Any]) -> Values:
        secrets = {key: value for key, value in values.items() if key in category.secrets and value}
        fresh = {key: self._sealer.renewed(value, f"{category.name}.{key}") for key, value in secrets.items()}
        return {key: value for key, value in fresh.items() if value is not None}

    async def watch(self) -> NoReturn:
        """Keeps what Redis has equal to what is stored, whoever has lost or changed it."""
        while True:
            for category in self._categories.values():
                try:
                    version, values = self._merged(category, await self._store.settings(category.name))
                    await self._put_in_force(category, version, values)
                except DomainError as error:
                    log.warning("settings not compared", category=category.name, error=error.detail)
            await asyncio.sleep(_LOOK)

    @staticmethod
    def _merged(category: Category, stored: Mapping[str, Any] | None) -> tuple[int, Values]:
        # What a later release took away is not in force, though it is still stored.
        known = {key: value for key, value in stored["values"].items() if key in category.first} if stored else {}
        return (stored["version"] if stored else 0), {**category.first, **known}

    async def _put_in_force(self, category: Category, version: int, values: Values) -> None:
        with redis_errors():
            await self._publish(
                keys=[redis_keys.SETTINGS],
                args=[redis_keys.SETTINGS_CHANGED, category.name, version, encode(version, values)],
            )

    def _sealed(self, category: Category, values: Values) -> Values:
        return {
            key: self._sealer.seal(value, f"{category.name}.{key}") if key in category.secrets and value else value
            for key, value in values.items()
        }

    def _opened(self, category: Category, values: Values) -> Values:
        return {key: self._open(category, key, value) for key, value in values.items()}

    def _open(self, category: Category, key: str, value: Any) -> Any:
        if key not in category.secrets or not value:
            return value
        try:
            return self._sealer.open(value, f"{category.name}.{key}")
        except ValueError as error:
            # The shared key was replaced. To the admin it is a secret that is not set, to be set anew.
            log.error("a setting is lost", category=category.name, key=key, error=str(error))
            return None

    async def _record(self, category: Category, before: Values, changed: Values) -> None:
        def shown(key: str, value: Any) -> Any:
            return "***" if key in category.secrets and value is not None else value

        await self._trail.record(
            "system",
            "settings_changed",
            severity="warning",
            resource_type="settings",
            resource_id=category.name,
            description=f"Changed the settings {', '.join(sorted(changed))}",
            details={
                "old": {key: shown(key, before[key]) for key in changed},
                "new": {key: shown(key, value) for key, value in changed.items()},
            },
        )
