"""Signing in with another field than the e-mail: `options.auth.identity_field`."""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from auth_service.realms import Realm
from fastcms.auth.v1 import credentials_pb2, identities_pb2
from fastcms_common.errors import Denied, DomainError, Unauthenticated, Unavailable
from tests.contract.auth.mailbox import Mailbox, code_of
from tests.contract.auth.profiles import Collections, serving
from tests.contract.auth.server import auth_server
from tests.contract.auth.shop import Shop

PASSWORD = "securepassword123"
EVA = {"email": "eva@example.com", "password": PASSWORD, "phone": "+4712345"}
TRIES = 60
TOLERANCE = 1.4


@pytest.fixture
async def shop(tmp_path: Path, redis_url: str) -> AsyncIterator[Shop]:
    """Customers sign in with their phone number, vendors with their e-mail."""
    collections = Collections("customers", "vendors")
    collections.options["customers"] = {"identity_field": "phone", "otp_enabled": True}
    async with (
        serving(collections) as address,
        auth_server(tmp_path, redis_url, collections_service=address, account_lockout_attempts=3) as running,
    ):
        yield Shop(running, collections)


async def fail(shop: Shop, name: str, times: int) -> None:
    for _ in range(times):
        with pytest.raises(Unauthenticated):
            await shop.server.login(name, "wrong", collection="customers")


async def locked(shop: Shop, name: str) -> bool:
    with pytest.raises(DomainError) as refused:
        await shop.server.login(name, "wrong", collection="customers")
    return refused.value.reason == "ACCOUNT_LOCKED"


@pytest.mark.parametrize("options", [{}, {"identity_field": None}, {"identity_field": "email"}])
def test_a_realm_that_says_nothing_knows_its_members_by_e_mail(options: dict[str, object]):
    assert Realm("x", "x", options).identity_field == "email"


async def test_members_sign_in_with_the_field_that_their_collection_names(shop: Shop):
    await shop.server.join(EVA)
    answer = await shop.server.login(EVA["phone"], PASSWORD, collection="customers")
    assert orjson.loads(answer.user)["email"] == EVA["email"]
    for other in (EVA["email"], EVA["phone"] + " ", "+47\0", ""):
        with pytest.raises(DomainError):
            await shop.server.login(other, PASSWORD, collection="customers")
    await shop.server.join(EVA, "vendors")
    assert (await shop.server.login(EVA["email"], PASSWORD, collection="vendors")).access_token


async def test_a_name_that_changes_is_the_one_that_counts(shop: Shop):
    await shop.server.join(EVA)
    (record,) = shop.collections.records.values()
    record["phone"] = "+4799999"
    with pytest.raises(Unauthenticated):
        await shop.server.login(EVA["phone"], PASSWORD, collection="customers")
    assert (await shop.server.login("+4799999", PASSWORD, collection="customers")).access_token


async def test_the_lock_is_that_of_the_account_and_admins_see_it(shop: Shop):
    root = (await shop.server.register()).access_token
    answer = await shop.server.join(EVA)
    await fail(shop, EVA["phone"], 3)
    assert await locked(shop, EVA["phone"])
    ask = identities_pb2.GetLockStatusRequest(id=orjson.loads(answer.user)["id"])
    status = await shop.server.call(shop.server.identities.GetLockStatus, ask, root)
    assert (status.is_locked, status.failed_login_attempts) == (True, 3)
    # The password by which one confirms what one does is the same, and so is its lock.
    change = credentials_pb2.ChangePasswordRequest(
        collection="customers", current_password=PASSWORD, new_password="a new horse battery"
    )
    with pytest.raises(Denied):
        await shop.server.call(shop.server.credentials.ChangePassword, change, answer.access_token)
    assert {event.user_email for event in await shop.server.audit("account_locked")} == {EVA["email"]}


async def test_what_is_nobodys_name_locks_in_just_the_same_way(shop: Shop):
    await fail(shop, "+4700000", 3)
    assert await locked(shop, "+4700000")
    assert not await locked(shop, "+4700001")


async def test_an_e_mail_that_is_tried_as_a_name_locks_nobody_out(shop: Shop):
    await shop.server.join(EVA)
    await fail(shop, EVA["email"], 3)
    assert await locked(shop, EVA["email"])
    assert (await shop.server.login(EVA["phone"], PASSWORD, collection="customers")).access_token


async def test_codes_go_by_e_mail_as_ever(shop: Shop):
    await shop.server.join(EVA)
    request = credentials_pb2.RequestOtpRequest(collection="customers", email=EVA["email"])
    await shop.server.call(shop.server.credentials.RequestOtp, request)
    mail = await Mailbox(shop.server.settings.data_dir / "outbox").next(EVA["email"], "otp")
    verify = credentials_pb2.VerifyOtpRequest(collection="customers", email=EVA["email"], code=code_of(mail))
    assert (await shop.server.call(shop.server.credentials.VerifyOtp, verify)).access_token


async def test_names_that_cannot_be_looked_up_sign_nobody_in(shop: Shop):
    await shop.server.join(EVA)

    def away(rpc: str, request: object) -> None:
        if rpc == "FindNamedProfile":
            raise Unavailable("away")

    shop.collections.before = away
    with pytest.raises(Unavailable):
        await shop.server.login(EVA["phone"], PASSWORD, collection="customers")


async def test_known_and_unknown_names_are_told_alike_and_take_alike(tmp_path: Path, redis_url: str):
    collections = Collections("customers")
    collections.options["customers"] = {"identity_field": "phone"}
    async with (
        serving(collections) as address,
        auth_server(tmp_path, redis_url, collections_service=address, account_lockout_enabled=False) as server,
    ):
        await server.join(EVA)
        times: dict[str, list[float]] = {EVA["phone"]: [], "+4700000": []}
        told = set()
        for _ in range(TRIES):
            for name, taken in times.items():
                began = time.perf_counter()
                with pytest.raises(Unauthenticated) as refused:
                    await server.login(name, "wrong", collection="customers")
                taken.append(time.perf_counter() - began)
                told.add((refused.value.reason, refused.value.detail))
        assert len(told) == 1
        medians = [statistics.median(taken) for taken in times.values()]
        assert max(medians) < TOLERANCE * min(medians), medians
