"""What a collection may say otherwise than the settings."""

from __future__ import annotations

from typing import Any

import pytest

from auth_service.auth_settings import AuthSettings
from auth_service.realms import BUILT_IN, Realm, Realms
from fastcms.collections.v1 import profiles_pb2
from fastcms_common.announcements import Announcements
from fastcms_common.context import Caller
from fastcms_common.errors import Denied


def test_options_override_what_they_may_and_nothing_else():
    options = {"otp_enabled": True, "mfa_enabled": True, "password_min_length": 1, "oauth_enabled": "no"}
    effective = Realm("id", "customers", options).settings(AuthSettings(mfa_enabled=False))
    assert (effective.otp_enabled, effective.mfa_enabled) == (True, True)
    assert (effective.password_min_length, effective.oauth_enabled) == (8, True)
    general = AuthSettings()
    assert BUILT_IN.settings(general) is general


def test_a_token_of_another_realm_is_not_admitted():
    realm = Realm("c1", "customers")
    realm.admit(Caller("u", "user", realm="c1"))
    for other in ("users", "c2", ""):
        with pytest.raises(Denied):
            realm.admit(Caller("u", "user", realm=other))


async def test_an_answer_that_a_change_has_overtaken_is_not_remembered(monkeypatch: pytest.MonkeyPatch):
    """However long it was on its way."""
    names, now = ["old"], [0.0]
    monkeypatch.setattr(Announcements, "heard", True)

    class Profiles:
        async def ResolveRealm(self, request: Any) -> profiles_pb2.Realm:
            name = names[-1]
            if len(names) == 1:
                names.append("new")
                realms._forget()
                now[0] += 60
            return profiles_pb2.Realm(id="c1", name=name)

    profiles: Any = Profiles()
    redis: Any = None
    realms = Realms(profiles, redis, lambda: now[0])
    assert [(await realms.resolve("c1")).name for _ in range(3)] == ["old", "new", "new"]
    names.append("newer")
    assert (await realms.resolve("c1")).name == "new", "it is remembered"
    realms._forget()
    assert (await realms.resolve("c1")).name == "newer"
