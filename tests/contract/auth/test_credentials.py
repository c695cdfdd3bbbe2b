"""Changing passwords and addresses, and what is sent by mail for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from auth_service.mail_tokens import MailTokens
from auth_service.store import AuthStore
from fastcms.auth.v1 import auth_pb2, credentials_pb2
from fastcms_common.errors import Conflict, Denied, DomainError, Invalid, Unauthenticated, Unavailable
from fastcms_common.storage import open_store
from tests.contract.auth.mailbox import Mailbox, code_of, html_of, link_of, text_of, token_of
from tests.contract.auth.profiles import Collections, serving
from tests.contract.auth.server import EMAIL, PASSWORD, AuthServer, auth_server
from tests.contract.auth.shop import Shop

NEW = "another good password 2"
EVA = "eva@example.com"


class Person:
    """Somebody of a realm, and what they can do about their credentials."""

    def __init__(self, server: AuthServer, mailbox: Mailbox, collection: str, email: str) -> None:
        self.server, self.mailbox, self.collection, self.email = server, mailbox, collection, email
        self.token = ""

    async def call(self, rpc: str, bearer: str | None = None, **fields: Any) -> Any:
        method = getattr(self.server.credentials, rpc)
        kind = getattr(credentials_pb2, f"{rpc}Request")
        return await self.server.call(method, kind(collection=self.collection, **fields), bearer)

    async def login(self, password: str = PASSWORD, email: str = "") -> auth_pb2.LoginAnswer:
        return await self.server.login(email or self.email, password, collection=self.collection)

    async def me(self, bearer: str = "") -> dict[str, Any]:
        return await self.server.me(bearer or self.token, self.collection)

    async def change_password(self, current: str, new: str) -> None:
        await self.call("ChangePassword", self.token, current_password=current, new_password=new)

    async def reset_token(self, count: int = 1) -> str:
        await self.call("RequestPasswordReset", email=self.email)
        return token_of(await self.mailbox.next(self.email, "password_reset", count))


@pytest.fixture
def mailbox(tmp_path: Path) -> Mailbox:
    return Mailbox(tmp_path / "outbox")


@pytest.fixture(params=["", "customers"], ids=["built-in", "member"])
async def person(request: pytest.FixtureRequest, shop: Shop, mailbox: Mailbox) -> Person:
    """A built-in user, and the member of a collection."""
    if request.param:
        someone = Person(shop.server, mailbox, request.param, EVA)
        answer = await shop.server.join({"email": EVA, "password": PASSWORD, "company": "Acme"})
    else:
        someone = Person(shop.server, mailbox, "", EMAIL)
        answer = await shop.server.register()
    someone.token = answer.access_token
    return someone


async def test_a_new_password_ends_all_other_sessions(person: Person):
    other = await person.login()
    await person.change_password(PASSWORD, NEW)
    assert (await person.me())["email"] == person.email
    with pytest.raises(Unauthenticated):
        await person.me(other.access_token)
    with pytest.raises(Unauthenticated):
        await person.server.refresh(other.refresh_token, person.collection)
    with pytest.raises(Unauthenticated):
        await person.login(PASSWORD)
    assert (await person.login(NEW)).access_token
    assert len(await person.server.audit("password_changed")) == 1


async def test_the_current_password_is_asked_for_and_its_guesses_lock(person: Person):
    for _ in range(5):
        with pytest.raises(Invalid) as wrong:
            await person.change_password("wrong", NEW)
        assert (wrong.value.fields[0].field, wrong.value.reason) == ("current_password", "INVALID_CREDENTIALS")
    with pytest.raises(Denied) as refused:
        await person.change_password(PASSWORD, NEW)
    assert refused.value.reason == "ACCOUNT_LOCKED"


async def test_the_policy_holds_for_new_passwords_too(person: Person):
    with pytest.raises(Invalid) as refused:
        await person.change_password(PASSWORD, "short")
    assert refused.value.reason == "PASSWORD_POLICY"
    assert [one.message for one in refused.value.fields] == ["Password must be at least 8 characters"]
    with pytest.raises(Invalid) as refused:
        await person.call("ConfirmPasswordReset", token=await person.reset_token(), new_password=person.email)
    assert [one.message for one in refused.value.fields] == ["Password must not be the e-mail address or a part of it"]


async def test_the_history_knows_the_last_passwords_and_no_more(tmp_path: Path, redis_url: str):
    async with auth_server(tmp_path, redis_url, password_history_count=2) as server:
        root = Person(server, Mailbox(tmp_path), "", EMAIL)
        root.token = (await server.register()).access_token
        with pytest.raises(Invalid) as refused:
            await root.change_password(PASSWORD, PASSWORD)
        assert refused.value.detail == "Cannot reuse a recent password."
        assert refused.value.reason == "PASSWORD_REUSED"
        assert [one.field for one in refused.value.fields] == ["new_password"]
        await root.change_password(PASSWORD, NEW)
        with pytest.raises(Invalid):
            await root.change_password(NEW, PASSWORD)
        await root.change_password(NEW, "a third good password")
        with pytest.raises(Invalid):
            await root.change_password("a third good password", NEW)
        await root.change_password("a third good password", PASSWORD)
        store = AuthStore(await open_store(server.settings.storage_url, "auth"))
        await store.prepare()
        (kept,) = [one async for one in store.scan_identities()]
        await store.close()
        assert len([kept.password_hash, *kept.password_history]) == 2


async def test_a_forgotten_password_is_reset_by_mail(person: Person):
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await person.login("wrong")
    mail_token = await person.reset_token()
    mail = await person.mailbox.next(person.email, "password_reset")
    assert mail["Subject"] == "Reset your password"
    assert link_of(mail).startswith("http://127.0.0.1:8000/reset-password?token=")
    assert mail_token in html_of(mail)
    await person.call("ConfirmPasswordReset", token=mail_token, new_password=NEW)
    with pytest.raises(Unauthenticated):
        await person.me()
    assert (await person.login(NEW)).access_token, "and the lock is open"
    with pytest.raises(Invalid) as refused:
        await person.call("ConfirmPasswordReset", token=mail_token, new_password=PASSWORD)
    assert (refused.value.fields[0].field, refused.value.reason) == ("token", "TOKEN_INVALID")


async def test_only_the_latest_reset_token_is_good(person: Person):
    first = await person.reset_token()
    second = await person.reset_token(2)
    with pytest.raises(Invalid):
        await person.call("ConfirmPasswordReset", token=first, new_password=NEW)
    await person.call("ConfirmPasswordReset", token=second, new_password=NEW)


async def test_a_link_on_its_way_to_an_address_just_given_up_is_void(person: Person):
    person_id = (await person.me())["id"]
    store = AuthStore(await open_store(person.server.settings.storage_url, "auth"))
    try:
        await store.prepare()
        before = await store.identity(person_id)
        assert before is not None
        await store.change_identity(person_id, {"email": "new@example.com", "email_key": "new@example.com"})
        for purpose, rpc, more in (
            ("password_reset", "ConfirmPasswordReset", {"new_password": NEW}),
            ("verification", "ConfirmVerification", {}),
        ):
            token = await MailTokens(store).issue(before, purpose, before.email)
            with pytest.raises(Invalid):
                await person.call(rpc, token=token, **more)
    finally:
        await store.close()


async def test_a_reset_token_is_of_no_use_elsewhere(person: Person):
    token = await person.reset_token()
    stranger = Person(person.server, person.mailbox, "vendors", person.email)
    for other, rpc in ((stranger, "ConfirmPasswordReset"), (person, "ConfirmVerification")):
        fields = {"new_password": NEW} if rpc == "ConfirmPasswordReset" else {}
        with pytest.raises(Invalid):
            await other.call(rpc, token=token, **fields)
    for bad in ("x", "é", token[:-1], token + "A", "a" * 512):
        with pytest.raises(Invalid):
            await person.call("ConfirmPasswordReset", token=bad, new_password=NEW)
    await person.call("ConfirmPasswordReset", token=token, new_password=NEW)


async def test_of_20_parallel_uses_of_a_reset_token_one_wins(person: Person):
    token = await person.reset_token()
    uses = (person.call("ConfirmPasswordReset", token=token, new_password=f"{NEW} number {n}") for n in range(20))
    answers = await asyncio.gather(*uses, return_exceptions=True)
    (winner,) = [n for n, one in enumerate(answers) if not isinstance(one, BaseException)]
    assert all(isinstance(one, Invalid) for n, one in enumerate(answers) if n != winner)
    assert (await person.login(f"{NEW} number {winner}")).access_token


async def test_asking_for_unknown_addresses_answers_the_same_and_mails_nobody(person: Person):
    asked = {
        (await person.call(rpc, email=email)).message
        for rpc in ("RequestPasswordReset", "RequestVerification")
        for email in (person.email, "nobody@example.com", "no address", "\0")
    }
    assert len(asked) == 1
    await person.mailbox.next(person.email, "password_reset")
    assert {one["To"] for one in person.mailbox.all()} == {person.email}


async def test_an_address_is_verified_by_mail(person: Person):
    if not person.collection:
        root = person.token
        person.email = "user@example.com"
        answer = await person.server.register(person.email, bearer=root, role="user")
        person.token = answer.access_token
    assert (await person.me())["verified"] is False
    await person.call("RequestVerification", email=person.email.upper())
    token = token_of(await person.mailbox.next(person.email, "verification"))
    shown = orjson.loads((await person.call("ConfirmVerification", token=token)).data)
    assert shown["verified"] is True
    assert (await person.me())["verified"] is True
    with pytest.raises(Invalid):
        await person.call("ConfirmVerification", token=token)


async def test_an_address_changes_when_the_new_one_has_confirmed(person: Person):
    await person.call("RequestEmailChange", person.token, new_email="New@Example.com", password=PASSWORD)
    notice = await person.mailbox.next(person.email, "email_change_notice")
    assert "New@example.com" in text_of(notice)
    token = token_of(await person.mailbox.next("New@example.com", "email_change"))
    assert (await person.me())["email"] == person.email
    shown = orjson.loads((await person.call("ConfirmEmailChange", token=token)).data)
    assert (shown["email"], shown["verified"]) == ("New@example.com", True)
    assert (await person.me())["email"] == "New@example.com", "the session goes on"
    assert (await person.login(email="new@example.com")).access_token
    with pytest.raises(Unauthenticated):
        await person.login()
    with pytest.raises(Invalid):
        await person.call("ConfirmEmailChange", token=token)


async def test_a_taken_address_gets_the_same_answer_and_its_owner_is_told(person: Person, shop: Shop):
    if person.collection:
        await shop.server.join({"email": "taken@example.com", "password": PASSWORD})
    else:
        await shop.server.register("taken@example.com", bearer=person.token, role="user")
    answers = {
        (await person.call("RequestEmailChange", person.token, new_email=email, password=PASSWORD)).message
        for email in ("taken@example.com", "free@example.com")
    }
    assert len(answers) == 1
    await person.mailbox.next("free@example.com", "email_change")
    assert "Nothing has changed" in text_of(await person.mailbox.next("taken@example.com", "email_taken"))
    assert person.mailbox.to("taken@example.com", "email_change") == []


async def test_an_address_that_is_taken_meanwhile_is_not_given_twice(person: Person, shop: Shop):
    await person.call("RequestEmailChange", person.token, new_email="wanted@example.com", password=PASSWORD)
    token = token_of(await person.mailbox.next("wanted@example.com", "email_change"))
    if person.collection:
        await shop.server.join({"email": "wanted@example.com", "password": PASSWORD})
    else:
        await shop.server.register("wanted@example.com", bearer=person.token, role="user")
    with pytest.raises(Conflict) as refused:
        await person.call("ConfirmEmailChange", token=token)
    assert refused.value.reason == "EMAIL_TAKEN"
    assert (await person.me())["email"] == person.email


async def test_a_changed_password_makes_a_pending_address_change_void(person: Person):
    await person.call("RequestEmailChange", person.token, new_email="new@example.com", password=PASSWORD)
    token = token_of(await person.mailbox.next("new@example.com", "email_change"))
    await person.change_password(PASSWORD, NEW)
    with pytest.raises(Invalid):
        await person.call("ConfirmEmailChange", token=token)


async def test_a_wrong_password_or_no_address_asks_for_nothing(person: Person):
    for fields, field in (
        ({"new_email": "new@example.com", "password": "wrong"}, "password"),
        ({"new_email": "nonsense", "password": PASSWORD}, "new_email"),
    ):
        with pytest.raises(Invalid) as refused:
            await person.call("RequestEmailChange", person.token, **fields)
        assert refused.value.fields[0].field == field
    assert await person.server.audit("email_change_requested") == []


@pytest.fixture
async def eva(shop: Shop, mailbox: Mailbox) -> Person:
    await shop.server.join({"email": EVA, "password": PASSWORD})
    return Person(shop.server, mailbox, "customers", EVA)


async def code_for(person: Person, count: int = 1) -> str:
    await person.call("RequestOtp", email=person.email)
    return code_of(await person.mailbox.next(person.email, "otp", count))


async def test_a_code_signs_in_once(eva: Person):
    code = await code_for(eva)
    answer = await eva.call("VerifyOtp", email=eva.email, code=code)
    assert orjson.loads(answer.user)["email"] == eva.email
    assert (await eva.me(answer.access_token))["email"] == eva.email
    with pytest.raises(Unauthenticated):
        await eva.call("VerifyOtp", email=eva.email, code=code)


async def test_of_20_parallel_uses_of_a_code_one_wins(eva: Person):
    code = await code_for(eva)
    uses = (eva.call("VerifyOtp", email=eva.email, code=code) for _ in range(20))
    answers = await asyncio.gather(*uses, return_exceptions=True)
    assert sum(isinstance(one, auth_pb2.LoginAnswer) for one in answers) == 1
    assert sum(isinstance(one, Unauthenticated) for one in answers) == 19


async def test_five_wrong_tries_kill_a_code(eva: Person):
    code = await code_for(eva)
    wrong = "000000" if code != "000000" else "000001"
    for _ in range(4):
        with pytest.raises(Unauthenticated):
            await eva.call("VerifyOtp", email=eva.email, code=wrong)
    assert (await eva.call("VerifyOtp", email=eva.email, code=code)).access_token
    code = await code_for(eva, 2)
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await eva.call("VerifyOtp", email=eva.email, code="x" if code != "x" else "y")
    with pytest.raises(Unauthenticated):
        await eva.call("VerifyOtp", email=eva.email, code=code)


async def test_a_second_code_makes_the_first_void(eva: Person):
    first = await code_for(eva)
    second = await code_for(eva, 2)
    if first != second:
        with pytest.raises(Unauthenticated):
            await eva.call("VerifyOtp", email=eva.email, code=first)
    assert (await eva.call("VerifyOtp", email=eva.email, code=second)).access_token


async def test_codes_say_nothing_of_who_there_is(eva: Person):
    told = set()
    for email in (eva.email, "nobody@example.com"):
        told.add((await eva.call("RequestOtp", email=email)).message)
        with pytest.raises(Unauthenticated) as refused:
            await eva.call("VerifyOtp", email=email, code="x")
        told.add((refused.value.reason, refused.value.detail))
    assert len(told) == 2


async def test_codes_are_off_unless_switched_on(eva: Person, shop: Shop):
    shop.collections.options["vendors"] = {"otp_enabled": False}
    vendor = Person(eva.server, eva.mailbox, "vendors", EVA)
    for rpc, fields in (("RequestOtp", {}), ("VerifyOtp", {"code": "123456"})):
        with pytest.raises(Denied) as refused:
            await vendor.call(rpc, email=EVA, **fields)
        assert refused.value.reason == "OTP_DISABLED"


def database(server: AuthServer) -> bytes:
    return b"".join(path.read_bytes() for path in server.settings.data_dir.glob("auth.db*"))


async def test_nothing_secret_waits_in_the_database_or_in_redis(eva: Person):
    code, token = await code_for(eva), await eva.reset_token()
    dump = b""
    for key in await eva.server.redis.keys("otp*"):
        if await eva.server.redis.type(key) == b"hash":
            dump += repr(await eva.server.redis.hgetall(key)).encode()
    dump += database(eva.server)
    assert token.encode() not in dump
    assert f"'{code}'".encode() not in dump
    assert len(await eva.server.redis.keys("otp:*")) == 1


@pytest.fixture
async def strict_shop(tmp_path: Path, redis_url: str) -> AsyncIterator[Shop]:
    collections = Collections("customers")
    async with (
        serving(collections) as address,
        auth_server(tmp_path, redis_url, collections_service=address) as running,
    ):
        yield Shop(running, collections)


async def test_a_profile_that_could_not_be_told_is_told_by_the_job(strict_shop: Shop, mailbox: Mailbox):
    await strict_shop.server.join({"email": EVA, "password": PASSWORD})
    eva = Person(strict_shop.server, mailbox, "customers", EVA)
    await eva.call("RequestVerification", email=EVA)
    token = token_of(await mailbox.next(EVA, "verification"))

    def fail(rpc: str, request: Any) -> None:
        if rpc == "UpdateProfile":
            raise Unavailable("gone")

    strict_shop.collections.before = fail
    await eva.call("ConfirmVerification", token=token)
    strict_shop.collections.before = lambda rpc, request: None
    (record,) = strict_shop.collections.records.values()
    assert record["verified"] is False
    await strict_shop.server.reconcile()
    assert record["verified"] is True


async def test_every_refusal_is_a_domain_error(eva: Person):
    with pytest.raises(DomainError):
        await eva.call("ChangePassword", current_password=PASSWORD, new_password=NEW)
