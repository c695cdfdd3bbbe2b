"""Second factors: setting up, being asked, and codes that are good once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyotp
import pytest

from fastcms.auth.v1 import auth_pb2, credentials_pb2, mfa_pb2
from fastcms_common.errors import Conflict, Denied, Invalid, Unauthenticated
from tests.contract.auth.mailbox import Mailbox, code_of
from tests.contract.auth.server import EMAIL, PASSWORD, AuthServer, auth_server
from tests.contract.auth.shop import Shop

EVA = "eva@example.com"


@dataclass
class Person:
    """Somebody of a realm with an authenticator app."""

    server: AuthServer
    collection: str
    email: str
    token: str
    secret: str = ""

    async def call(self, rpc: str, **fields: Any) -> Any:
        request = getattr(mfa_pb2, f"{rpc}Request")(collection=self.collection, **fields)
        return await self.server.call(getattr(self.server.mfa, rpc), request, self.token)

    async def login(self, code: str | None = None) -> auth_pb2.LoginAnswer:
        return await self.server.login(self.email, PASSWORD, collection=self.collection, mfa_code=code)

    def code(self, steps: int = 1) -> str:
        """What the app shows so many steps from now. One ahead is good now, and still is should the clock move on."""
        return pyotp.TOTP(self.secret).generate_otp(int(time.time()) // 30 + steps)

    async def enable(self) -> list[str]:
        """Sets up and enables; spends the code of this step."""
        self.secret = (await self.call("SetUpMfa")).secret
        return list((await self.call("EnableMfa", code=self.code(0))).recovery_codes)


@pytest.fixture(params=["", "customers"], ids=["built-in", "member"])
async def person(request: pytest.FixtureRequest, shop: Shop) -> Person:
    if request.param:
        answer = await shop.server.join({"email": EVA, "password": PASSWORD})
        return Person(shop.server, "customers", EVA, answer.access_token)
    return Person(shop.server, "", EMAIL, (await shop.server.register()).access_token)


async def test_setting_up_gives_what_an_app_needs(person: Person):
    setup = await person.call("SetUpMfa")
    parsed = pyotp.parse_uri(setup.otpauth_url)
    assert (parsed.secret, parsed.name, parsed.issuer) == (setup.secret, person.email, "FastCMS")
    assert ElementTree.fromstring(setup.qr_svg).tag.endswith("svg")
    assert not (await person.call("GetMfa")).enabled
    assert (await person.login()).access_token, "not asked for before it is enabled"


async def test_once_enabled_a_code_is_asked_for_after_the_right_password(person: Person):
    codes = await person.enable()
    assert len(set(codes)) == 10
    mfa = await person.call("GetMfa")
    assert (mfa.enabled, mfa.recovery_codes_left) == (True, 10)
    for code in (None, ""):
        with pytest.raises(Unauthenticated) as refused:
            await person.login(code)
        assert refused.value.reason == "MFA_REQUIRED"
    with pytest.raises(Unauthenticated) as refused:
        await person.server.login(person.email, "wrong", collection=person.collection, mfa_code=person.code())
    assert refused.value.reason == "INVALID_CREDENTIALS", "a wrong password does not tell that there is a factor"
    assert (await person.login(person.code())).access_token


async def test_a_code_is_good_once_and_so_are_all_before_it(person: Person):
    await person.enable()
    code, earlier = person.code(), person.code(0)
    assert (await person.login(f" {code[:3]} {code[3:]} ")).access_token
    for spent in (code, earlier):
        with pytest.raises(Unauthenticated) as refused:
            await person.login(spent)
        assert refused.value.reason == "MFA_CODE_INVALID"


async def test_a_code_from_too_far_away_is_wrong(person: Person):
    await person.enable()
    for steps in (-3, 3, 100):
        with pytest.raises(Unauthenticated):
            await person.login(person.code(steps))


async def test_of_20_parallel_uses_of_a_code_one_wins(person: Person):
    await person.enable()
    code = person.code()
    answers = await asyncio.gather(*(person.login(code) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(one, auth_pb2.LoginAnswer) for one in answers) == 1
    assert all(isinstance(one, auth_pb2.LoginAnswer | Unauthenticated | Denied) for one in answers)


async def test_of_20_parallel_uses_of_a_recovery_code_one_wins(person: Person):
    (code, *_) = await person.enable()
    answers = await asyncio.gather(*(person.login(code) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(one, auth_pb2.LoginAnswer) for one in answers) == 1


async def test_recovery_codes_work_once_however_they_are_written(person: Person):
    first, second, *_ = await person.enable()
    assert (await person.login(first)).access_token
    with pytest.raises(Unauthenticated):
        await person.login(first)
    assert (await person.login(second.upper().replace("-", " "))).access_token
    assert (await person.call("GetMfa")).recovery_codes_left == 8
    assert len(await person.server.audit("mfa_recovery_code_used")) == 2


async def test_guessing_codes_locks_the_account(person: Person):
    await person.enable()
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await person.login("nonsense")
    with pytest.raises(Denied) as refused:
        await person.login(person.code())
    assert refused.value.reason == "ACCOUNT_LOCKED"


async def test_switching_off_takes_more_than_a_token(person: Person):
    (recovery, *_) = await person.enable()
    with pytest.raises(Invalid) as refused:
        await person.call("DisableMfa")
    assert {one.field for one in refused.value.fields} == {"password", "code"}
    for wrong, reason in (({"password": "wrong"}, "INVALID_CREDENTIALS"), ({"code": "000000"}, "MFA_CODE_INVALID")):
        with pytest.raises(Invalid) as refused:
            await person.call("DisableMfa", **wrong)
        assert refused.value.reason == reason
    await person.call("DisableMfa", code=recovery)
    assert (await person.login()).access_token
    with pytest.raises(Conflict):
        await person.call("DisableMfa", password=PASSWORD)


async def test_new_recovery_codes_make_the_old_ones_void(person: Person):
    (old, *_) = await person.enable()
    (new, *_) = (await person.call("RenewRecoveryCodes", password=PASSWORD)).recovery_codes
    with pytest.raises(Unauthenticated):
        await person.login(old)
    assert (await person.login(new)).access_token


async def test_a_wrong_first_code_enables_nothing(person: Person):
    with pytest.raises(Conflict):
        await person.call("EnableMfa", code="123456")
    person.secret = (await person.call("SetUpMfa")).secret
    with pytest.raises(Invalid):
        await person.call("EnableMfa", code="nonsense")
    await person.call("EnableMfa", code=person.code())
    with pytest.raises(Conflict):
        await person.call("SetUpMfa")


async def test_a_one_time_code_does_not_get_round_the_second_factor(shop: Shop, tmp_path: Path):
    answer = await shop.server.join({"email": EVA, "password": PASSWORD})
    eva = Person(shop.server, "customers", EVA, answer.access_token)
    await eva.enable()

    async def verify(**fields: Any) -> auth_pb2.LoginAnswer:
        request = credentials_pb2.VerifyOtpRequest(collection="customers", email=EVA, **fields)
        return await shop.server.call(shop.server.credentials.VerifyOtp, request)

    ask = credentials_pb2.RequestOtpRequest(collection="customers", email=EVA)
    await shop.server.call(shop.server.credentials.RequestOtp, ask)
    code = code_of(await Mailbox(tmp_path / "outbox").next(EVA, "otp"))
    with pytest.raises(Unauthenticated) as refused:
        await verify(code=code)
    assert refused.value.reason == "MFA_REQUIRED"
    assert (await verify(code=code, mfa_code=eva.code())).access_token


async def test_nothing_is_set_up_where_second_factors_are_off(tmp_path: Path, redis_url: str):
    async with auth_server(tmp_path, redis_url) as server:
        root = Person(server, "", EMAIL, (await server.register()).access_token)
        with pytest.raises(Denied) as refused:
            await root.call("SetUpMfa")
        assert refused.value.reason == "MFA_DISABLED"
