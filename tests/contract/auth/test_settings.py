"""Settings of category auth, changed while everything runs."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from fastcms.auth.v1 import settings_pb2
from fastcms_common.errors import Denied, Invalid
from tests.contract.auth.server import AuthServer, auth_server


async def read(server: AuthServer, bearer: str) -> settings_pb2.AuthSettings:
    return await server.call(server.live_settings.GetAuthSettings, settings_pb2.GetAuthSettingsRequest(), bearer)


async def write(server: AuthServer, bearer: str, **values: Any) -> settings_pb2.AuthSettings:
    given = {name: value for name, value in values.items() if value is not None}
    request = settings_pb2.UpdateAuthSettingsRequest(**given, update_mask={"paths": list(values)})
    return await server.call(server.live_settings.UpdateAuthSettings, request, bearer)


async def test_the_environment_gives_the_first_values_by_the_names_of_the_seed(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
):
    for name, value in {
        "ACCOUNT_LOCKOUT_ENABLED": "false",
        "ACCOUNT_LOCKOUT_ATTEMPTS": "7",
        "ACCOUNT_LOCKOUT_DURATION": "60",
        "PASSWORD_MIN_LENGTH": "12",
        "PASSWORD_REQUIRE_UPPERCASE": "true",
        "PASSWORD_REQUIRE_LOWERCASE": "true",
        "PASSWORD_REQUIRE_DIGIT": "true",
        "PASSWORD_REQUIRE_SPECIAL": "true",
        "PASSWORD_HISTORY_COUNT": "5",
    }.items():
        monkeypatch.setenv(name, value)
    async with auth_server(tmp_path, redis_url) as server:
        root = await server.register(password="Correct horse 1 battery!")
        shown = await read(server, root.access_token)
    assert (shown.account_lockout_enabled, shown.account_lockout_attempts, shown.account_lockout_duration) == (
        False, 7, 60,
    )  # fmt: skip
    assert (shown.password_min_length, shown.password_history_count) == (12, 5)
    assert shown.password_require_upper
    assert shown.password_require_lower
    assert shown.password_require_number
    assert shown.password_require_special


async def test_the_defaults_are_those_of_the_contract(server: AuthServer):
    root = await server.register()
    assert str(await read(server, root.access_token)) == str(
        settings_pb2.AuthSettings(
            password_auth_enabled=True, oauth_enabled=True, otp_enabled=False, mfa_enabled=False,
            password_min_length=8, password_max_length=128, password_require_upper=False,
            password_require_lower=False, password_require_number=False, password_require_special=False,
            password_history_count=0, password_block_common=True, token_expiry_hours=24,
            refresh_token_expiry_days=7, account_lockout_enabled=True, account_lockout_attempts=5,
            account_lockout_duration=1800,
        )
    )  # fmt: skip


async def test_a_change_holds_on_every_replica_within_a_second_and_after_a_restart(tmp_path: Path, redis_url: str):
    async with auth_server(tmp_path, redis_url) as one, auth_server(tmp_path, redis_url) as two:
        root = await one.register()
        changed = await write(one, root.access_token, password_min_length=20, token_expiry_hours=1)
        assert (changed.password_min_length, changed.token_expiry_hours) == (20, 1)
        began = time.monotonic()
        while (await two.login()).expires_in != 3600:
            await asyncio.sleep(0.01)
        assert time.monotonic() - began < 1
        with pytest.raises(Invalid) as refused:
            await two.register("b@example.com", "nineteen characters", bearer=root.access_token)
        assert refused.value.fields[0].message == "Password must be at least 20 characters"
    async with auth_server(tmp_path, redis_url) as again:
        assert (await again.login()).expires_in == 3600


async def test_a_change_is_audited_with_old_and_new(server: AuthServer):
    root = await server.register()
    await write(server, root.access_token, otp_enabled=True, password_min_length=8)
    (event,) = await server.audit("settings_changed")
    assert orjson.loads(event.details) == {"old": {"otp_enabled": False}, "new": {"otp_enabled": True}}
    assert event.user_id == orjson.loads(root.user)["id"]
    await write(server, root.access_token, otp_enabled=True)
    assert len(await server.audit("settings_changed")) == 1


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({"password_min_length": 0}, ["password_min_length"]),
        ({"password_min_length": 129}, ["password_min_length"]),
        ({"otp_enabled": None, "mfa_enabled": True}, ["otp_enabled"]),
        ({"account_lockout_attempts": 0, "token_expiry_hours": -1}, ["token_expiry_hours", "account_lockout_attempts"]),
        ({"password_min_length": 100, "password_max_length": 50, "otp_enabled": True}, ["password_min_length"]),
        ({"password_max_length": 5000}, ["password_max_length"]),
    ],
)
async def test_bad_values_are_refused_as_a_whole(server: AuthServer, values: dict[str, Any], fields: list[str]):
    root = await server.register()
    before = await read(server, root.access_token)
    with pytest.raises(Invalid) as refused:
        await write(server, root.access_token, **values)
    assert [one.field for one in refused.value.fields] == fields
    assert await read(server, root.access_token) == before


async def test_changes_of_several_admins_at_once_are_all_kept(server: AuthServer):
    root = await server.register()
    await asyncio.gather(
        write(server, root.access_token, otp_enabled=True),
        write(server, root.access_token, mfa_enabled=True),
        write(server, root.access_token, token_expiry_hours=3),
    )
    shown = await read(server, root.access_token)
    assert (shown.otp_enabled, shown.mfa_enabled, shown.token_expiry_hours) == (True, True, 3)


async def test_users_neither_see_nor_change_them(server: AuthServer):
    root = await server.register()
    user = await server.register("user@example.com", bearer=root.access_token, role="user")
    for call in (read(server, user.access_token), write(server, user.access_token, otp_enabled=True)):
        with pytest.raises(Denied):
            await call
