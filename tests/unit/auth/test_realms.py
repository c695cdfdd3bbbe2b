"""What a collection may say otherwise than the settings."""

from __future__ import annotations

import pytest

from auth_service.auth_settings import AuthSettings
from auth_service.realms import BUILT_IN, Realm
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
