"""Registering, signing in, and who one is."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import orjson
import pytest

from fastcms.auth.v1 import auth_pb2
from fastcms_common.errors import Conflict, Denied, Invalid, Unauthenticated, Unavailable
from fastcms_common.times import from_text
from tests.contract.auth.server import EMAIL, PASSWORD, AuthServer, auth_server


async def test_the_first_registration_makes_a_superadmin_and_signs_in(server: AuthServer):
    answer = await server.register(name="  Root  ")
    user = orjson.loads(answer.user)
    assert user["email"] == EMAIL
    assert user["name"] == "Root"
    assert (user["role"], user["superadmin"], user["verified"], user["mfa_enabled"]) == ("admin", True, True, False)
    assert from_text(user["created"]) == from_text(user["updated"])
    assert list(user) == [
        "id", "email", "name", "role", "superadmin", "verified", "mfa_enabled", "created", "updated",
    ]  # fmt: skip
    assert answer.token_type == "bearer"
    assert answer.expires_in == 24 * 3600
    assert await server.me(answer.access_token) == user


async def test_registration_is_closed_to_strangers_once_there_is_an_admin(server: AuthServer):
    await server.register()
    with pytest.raises(Unauthenticated) as refused:
        await server.register("second@example.com")
    assert refused.value.reason == "REGISTRATION_CLOSED"


async def test_the_first_account_is_an_admins(server: AuthServer):
    with pytest.raises(Invalid) as refused:
        await server.register(role="user")
    assert refused.value.fields[0].field == "role"


async def test_a_superadmin_makes_admins_and_an_admin_makes_users_only(server: AuthServer):
    root = await server.register()
    admin = await server.register("admin@example.com", bearer=root.access_token)
    assert orjson.loads(admin.user)["role"] == "admin"
    assert orjson.loads(admin.user)["superadmin"] is False
    user = await server.register("user@example.com", bearer=admin.access_token, role="user")
    assert orjson.loads(user.user)["role"] == "user"
    with pytest.raises(Denied) as refused:
        await server.register("admin2@example.com", bearer=admin.access_token)
    assert refused.value.reason == "SUPERADMIN_REQUIRED"
    with pytest.raises(Denied) as refused:
        await server.register("user2@example.com", bearer=user.access_token, role="user")
    assert refused.value.reason == "ADMIN_REQUIRED"


async def test_two_spellings_of_an_address_are_one_account(server: AuthServer):
    root = await server.register()
    with pytest.raises(Conflict) as refused:
        await server.register("ROOT@Example.COM", bearer=root.access_token)
    assert refused.value.reason == "EMAIL_TAKEN"
    assert orjson.loads((await server.login("Root@EXAMPLE.com")).user)["email"] == EMAIL


async def test_set_up_is_needed_until_there_is_an_admin(server: AuthServer):
    assert (await server.auth.GetSetup(auth_pb2.GetSetupRequest())).needed
    await server.register()
    assert not (await server.auth.GetSetup(auth_pb2.GetSetupRequest())).needed


async def test_set_up_tells_that_it_takes_the_setup_token(tmp_path: Path, redis_url: str):
    async with auth_server(tmp_path, redis_url, setup_token="let me in") as server:
        assert (await server.auth.GetSetup(auth_pb2.GetSetupRequest())).token_required
        await server.register(setup_token="let me in")
        assert not (await server.auth.GetSetup(auth_pb2.GetSetupRequest())).token_required


async def test_the_setup_token_guards_the_first_registration(tmp_path: Path, redis_url: str):
    async with auth_server(tmp_path, redis_url, setup_token="let me in") as server:
        for wrong in ("", "let me out"):
            with pytest.raises(Denied) as refused:
                await server.register(setup_token=wrong)
            assert refused.value.reason == "SETUP_TOKEN_REQUIRED"
        assert (await server.register(setup_token="let me in")).access_token


async def test_the_environment_makes_the_first_admin_once(tmp_path: Path, redis_url: str):
    first = {"admin_email": EMAIL, "admin_password": PASSWORD}
    async with auth_server(tmp_path, redis_url, **first) as server:
        before = orjson.loads((await server.login()).user)
    async with auth_server(tmp_path, redis_url, **first | {"admin_password": "something quite different"}) as server:
        assert orjson.loads((await server.login()).user)["id"] == before["id"]
        assert len(await server.audit("user_created")) == 1


async def test_a_bad_password_is_told_in_the_words_of_the_seed(tmp_path: Path, redis_url: str):
    rules = {"password_require_uppercase": True, "password_require_digit": True}
    async with auth_server(tmp_path, redis_url, **rules) as server:
        with pytest.raises(Invalid) as refused:
            await server.register(password="pßß")
    assert refused.value.reason == "PASSWORD_POLICY"
    assert [(one.field, one.message) for one in refused.value.fields] == [
        ("password", "Password must be at least 8 characters"),
        ("password", "Password must contain at least one uppercase letter"),
        ("password", "Password must contain at least one digit"),
    ]


@pytest.mark.parametrize("email", ["no-address", "a@b", "@example.com", "a b@example.com", "a@exa mple.com"])
async def test_a_bad_address_is_named(server: AuthServer, email: str):
    with pytest.raises(Invalid) as refused:
        await server.register(email)
    assert refused.value.fields[0].field == "email"


async def test_unknown_wrong_and_no_address_at_all_get_one_answer(server: AuthServer):
    await server.register()
    answers = set()
    for email, password in ((EMAIL, "wrong"), ("nobody@example.com", PASSWORD), ("no address", "x"), ("\0", "\0")):
        with pytest.raises(Unauthenticated) as refused:
            await server.login(email, password)
        answers.add((refused.value.reason, refused.value.detail))
    assert answers == {("INVALID_CREDENTIALS", "Invalid e-mail or password.")}
    assert len(await server.audit("login_failed")) == 4


async def test_a_password_is_the_same_in_every_normal_form(server: AuthServer):
    await server.register(password="Ångström-Åland")
    assert (await server.login(password="A\u030angstro\u0308m-\u212bland")).access_token


async def test_a_long_password_is_not_cut(tmp_path: Path, redis_url: str):
    async with auth_server(tmp_path, redis_url, password_max_length=200) as server:
        long = "x7" * 99
        await server.register(password=long + "!!")
        for wrong in (long, long + "!", long + "!?"):
            with pytest.raises(Unauthenticated):
                await server.login(password=wrong)
        assert (await server.login(password=long + "!!")).access_token


async def test_what_does_not_fit_in_the_queue_is_told_to_come_back(tmp_path: Path, redis_url: str):
    async with auth_server(tmp_path, redis_url, password_threads=1, password_queue=3) as server:
        logins = (server.login(f"p{n}@example.com") for n in range(30))
        answers = await asyncio.gather(*logins, return_exceptions=True)
        full = [one for one in answers if isinstance(one, Unavailable)]
        assert {one.reason for one in full} == {"PASSWORD_QUEUE_FULL"}
        assert {one.retry_after for one in full} == {1}
        assert 4 <= len(answers) - len(full) < 30
        assert all(isinstance(one, Unavailable | Unauthenticated) for one in answers)
        with pytest.raises(Unauthenticated):
            await server.login("p0@example.com")


async def test_a_huge_password_costs_no_more_than_any(server: AuthServer):
    took = []
    for password in ("short", "\ufdfa" * 4096):
        began = time.perf_counter()
        for _ in range(5):
            with pytest.raises(Unauthenticated):
                await server.login(f"{len(password)}{_}@example.com", password)
        took.append(time.perf_counter() - began)
    assert took[1] < 3 * took[0]
    with pytest.raises(Invalid):
        await server.login("x@example.com", "x" * 4097)


async def test_sign_ins_are_audited_with_address_and_agent(server: AuthServer):
    await server.register()
    await server.login(ip="192.0.2.7")
    event = (await server.audit("login"))[-1]
    assert (event.ip_address, event.user_agent, event.user_email) == ("192.0.2.7", "test agent", EMAIL)
    assert event.outcome == "success"


async def test_a_token_whose_account_has_no_session_left_is_refused(server: AuthServer):
    answer = await server.register()
    await server.call(server.auth.Logout, auth_pb2.LogoutRequest(), answer.access_token)
    with pytest.raises(Unauthenticated) as refused:
        await server.me(answer.access_token)
    assert refused.value.reason == "SESSION_REVOKED"
    assert len(await server.audit("logout")) == 1
