"""Realms: the built-in users, and each auth collection."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from redis.asyncio import Redis

from auth_service.auth_settings import AuthSettings
from fastcms.collections.v1 import profiles_pb2
from fastcms_common import redis_keys
from fastcms_common.announcements import SILENCE, Announcements
from fastcms_common.channels import as_service
from fastcms_common.context import BUILT_IN_REALM, Caller
from fastcms_common.errors import Denied, NotFound

if TYPE_CHECKING:
    from fastcms.collections.v1.profiles_pb2_grpc import ProfilesServiceAsyncStub

_CAPACITY = 10_000
EMAIL = "email"
# What a collection may say otherwise than the settings (contract, section 2).
_OVERRIDES = ("password_auth_enabled", "otp_enabled", "oauth_enabled", "mfa_enabled")


@dataclass(frozen=True, slots=True)
class Realm:
    """Where an e-mail is unique. `id` is "users" or the collection's id; `options` the collection's `options.auth`."""

    id: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def built_in(self) -> bool:
        return self.id == BUILT_IN_REALM

    @property
    def identity_field(self) -> str:
        """What members sign in with beside their password: `email`, or a unique field of their profile."""
        return self.options.get("identity_field") or EMAIL

    def settings(self, general: AuthSettings) -> AuthSettings:
        """The settings as they hold in this realm."""
        own = {name: value for name in _OVERRIDES if isinstance(value := self.options.get(name), bool)}
        return msgspec.structs.replace(general, **own) if own else general

    def admit(self, caller: Caller) -> None:
        """Returns where `caller` is of this realm. Denied (WRONG_REALM) otherwise."""
        if caller.realm != self.id:
            raise Denied("This token belongs to another user system.", reason="WRONG_REALM")


BUILT_IN = Realm(BUILT_IN_REALM, BUILT_IN_REALM)


class Realms:
    """What the word in a path means. Answers are remembered while `watch()` runs, until a collection changes."""

    def __init__(
        self, profiles: ProfilesServiceAsyncStub, redis: Redis, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._profiles = profiles
        self._clock = clock
        self._known: dict[str, Realm] = {}
        self._announcements = Announcements(
            redis, redis_keys.COLLECTIONS_CHANGED, lambda _: self._forget(), self._forget, clock
        )
        # What was asked before this may have been answered by a replica that had not heard of a change yet.
        self._settled = float("-inf")

    async def resolve(self, collection: str) -> Realm:
        """The realm of a path: built-in without a collection, else by its name or id. NotFound where there is none."""
        if not collection:
            return BUILT_IN
        if self._announcements.heard and (known := self._known.get(collection)) is not None:
            return known
        asked = self._clock()
        with as_service():
            answer = await self._profiles.ResolveRealm(profiles_pb2.ResolveRealmRequest(collection=collection))
        options = orjson.loads(answer.auth_options or b"{}")
        realm = Realm(answer.id, answer.name, options if isinstance(options, dict) else {})
        if asked >= self._settled:
            if len(self._known) >= _CAPACITY:
                self._known.clear()
            self._known[collection] = realm
        return realm

    def _forget(self) -> None:
        self._known.clear()
        self._settled = self._clock() + SILENCE

    async def watch(self) -> None:
        """Listens for changes until it is cancelled."""
        await self._announcements.watch()

    async def name_of(self, realm_id: str) -> str:
        """The name that a realm goes by; its id where its collection is gone."""
        if realm_id == BUILT_IN_REALM:
            return BUILT_IN_REALM
        try:
            return (await self.resolve(realm_id)).name
        except NotFound:
            return realm_id
