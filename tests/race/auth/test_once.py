"""What works once works once, however many try at the same moment, on two replicas and each storage engine."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyotp
import pytest

from fastcms.auth.v1 import auth_pb2, credentials_pb2, mfa_pb2
from fastcms_common.errors import DomainError, Unauthenticated
from tests.contract.auth.mailbox import Mailbox, code_of, token_of
from tests.contract.auth.profiles import Collections, serving
from tests.contract.auth.server import PASSWORD, AuthServer, auth_server
from tests.mongo_server import ATOMIC_CHANGES, ONE_WINNER
from tests.storages import Storage, needs

EVA = "eva@example.com"
BODY = {"email": EVA, "password": PASSWORD}


@dataclass
class Shop:
    """Two replicas, the collection customers, and the mails."""

    replicas: list[AuthServer]
    collections: Collections
    mailbox: Mailbox

    @property
    def one(self) -> AuthServer:
        return self.replicas[0]

    async def credentials(self, rpc: str, n: int = 0, bearer: str | None = None, **fields: Any) -> Any:
        server = self.replicas[n % 2]
        request = getattr(credentials_pb2, f"{rpc}Request")(collection="customers", **fields)
        return await server.call(getattr(server.credentials, rpc), request, bearer)


@pytest.fixture
async def shop(tmp_path: Path, redis_url: str, storage: Storage) -> AsyncIterator[Shop]:
    collections = Collections("customers")
    async with serving(collections) as address:
        shared = {
            "storage_url": storage.url,
            "collections_service": address,
            "otp_enabled": True,
            "mfa_enabled": True,
            "account_lockout_attempts": 100,
        }
        async with auth_server(tmp_path, redis_url, **shared) as one, auth_server(tmp_path, redis_url, **shared) as two:
            yield Shop([one, two], collections, Mailbox(tmp_path / "outbox"))


async def outcomes(*calls: Any) -> Counter[str]:
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for one in answers:
        if isinstance(one, BaseException) and not isinstance(one, DomainError):
            raise one
    return Counter(one.reason if isinstance(one, DomainError) else "OK" for one in answers)


async def test_registering_one_address(shop: Shop):
    told = await outcomes(*(shop.replicas[n % 2].join(BODY) for n in range(50)))
    assert told == {"OK": 1, "EMAIL_TAKEN": 49}
    assert shop.collections.emails() == [EVA]


@needs(ONE_WINNER, ATOMIC_CHANGES)
async def test_a_reset_token(shop: Shop):
    await shop.one.join(BODY)
    await shop.credentials("RequestPasswordReset", email=EVA)
    token = token_of(await shop.mailbox.next(EVA, "password_reset"))
    uses = (
        shop.credentials("ConfirmPasswordReset", n, token=token, new_password=f"a new password {n}") for n in range(20)
    )
    assert await outcomes(*uses) == {"OK": 1, "TOKEN_INVALID": 19}


@needs(ONE_WINNER, ATOMIC_CHANGES)
async def test_an_address_change_token(shop: Shop):
    eva = await shop.one.join(BODY)
    asked = {"new_email": "new@example.com", "password": PASSWORD}
    await shop.credentials("RequestEmailChange", bearer=eva.access_token, **asked)
    token = token_of(await shop.mailbox.next("new@example.com", "email_change"))
    told = await outcomes(*(shop.credentials("ConfirmEmailChange", n, token=token) for n in range(20)))
    assert told == {"OK": 1, "TOKEN_INVALID": 19}
    assert shop.collections.emails() == ["new@example.com"]


async def test_a_one_time_code(shop: Shop):
    await shop.one.join(BODY)
    await shop.credentials("RequestOtp", email=EVA)
    code = code_of(await shop.mailbox.next(EVA, "otp"))
    told = await outcomes(*(shop.credentials("VerifyOtp", n, email=EVA, code=code) for n in range(20)))
    assert told == {"OK": 1, "INVALID_CREDENTIALS": 19}


@needs(ONE_WINNER, ATOMIC_CHANGES)
async def test_a_totp_code_and_a_recovery_code(shop: Shop):
    eva = await shop.one.join(BODY)
    setup = await shop.one.call(
        shop.one.mfa.SetUpMfa, mfa_pb2.SetUpMfaRequest(collection="customers"), eva.access_token
    )
    totp, step = pyotp.TOTP(setup.secret), int(time.time()) // 30
    enable = mfa_pb2.EnableMfaRequest(collection="customers", code=totp.generate_otp(step))
    recovery = (await shop.one.call(shop.one.mfa.EnableMfa, enable, eva.access_token)).recovery_codes[0]
    for code in (totp.generate_otp(step + 1), recovery):
        logins = (shop.replicas[n % 2].login(EVA, PASSWORD, collection="customers", mfa_code=code) for n in range(20))
        assert await outcomes(*logins) == {"OK": 1, "MFA_CODE_INVALID": 19}


@needs(ONE_WINNER, ATOMIC_CHANGES)
async def test_setting_up_a_second_factor_never_takes_an_enabled_one_away(shop: Shop):
    eva = await shop.one.join(BODY)

    async def mfa(n: int, rpc: str, **fields: Any) -> Any:
        server = shop.replicas[n % 2]
        request = getattr(mfa_pb2, f"{rpc}Request")(collection="customers", **fields)
        return await server.call(getattr(server.mfa, rpc), request, eva.access_token)

    enabled = 0
    for _ in range(12):
        secret = (await mfa(0, "SetUpMfa")).secret
        told = await outcomes(mfa(0, "EnableMfa", code=pyotp.TOTP(secret).now()), mfa(1, "SetUpMfa"))
        assert told.keys() <= {"OK", "MFA_ALREADY_ENABLED", "MFA_CHANGED", "MFA_CODE_INVALID"}
        if told["MFA_CHANGED"] or told["MFA_CODE_INVALID"]:
            continue
        assert (await mfa(1, "GetMfa")).enabled
        enabled += 1
        await mfa(0, "DisableMfa", password=PASSWORD)
    assert enabled


@needs(ONE_WINNER, ATOMIC_CHANGES)
async def test_a_sign_in_never_outlives_the_password_it_was_made_with(shop: Shop):
    old = PASSWORD
    answer = await shop.one.join(BODY)
    for round_ in range(4):
        new = f"password of round {round_}"

        async def login(n: int, password: str = old) -> auth_pb2.LoginAnswer | None:
            try:
                return await shop.replicas[n % 2].login(EVA, password, collection="customers")
            except Unauthenticated:
                return None

        async def change(current: str = old, wanted: str = new, bearer: str = answer.access_token) -> None:
            await shop.credentials("ChangePassword", 1, bearer, current_password=current, new_password=wanted)

        *logins, _ = await asyncio.gather(*(login(n) for n in range(8)), change())
        for one in filter(None, logins):
            with pytest.raises(Unauthenticated):
                await shop.one.me(one.access_token, "customers")
        assert await shop.one.me(answer.access_token, "customers")
        old = new
