"""Signing in by an OpenID provider, a real one on a port of its own."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import orjson
import pyotp
import pytest
from joserfc.jwk import ECKey

from fastcms.auth.v1 import mfa_pb2, oauth_pb2
from fastcms_common.errors import Conflict, Denied, Invalid, NotFound, Unauthenticated, Unavailable
from tests.contract.auth.desk import BACK, Desk
from tests.contract.auth.openid import CLIENT_ID, CLIENT_SECRET, parameters
from tests.contract.auth.server import PASSWORD

EVA = "eva@example.com"


async def test_somebody_new_gets_an_account_and_finds_it_again(desk: Desk):
    begun = await desk.begin()
    asked = parameters(begun.authorization_url)
    assert begun.authorization_url.startswith(f"{desk.provider.base}/authorize?")
    assert (asked["redirect_uri"], asked["state"], asked["scope"]) == (BACK, begun.state, "openid email profile")
    assert (asked["code_challenge_method"], len(asked["code_challenge"])) == ("S256", 43)
    first = orjson.loads((await desk.complete(await desk.consent(begun.authorization_url))).user)
    assert (first["email"], first["verified"]) == (EVA, True)
    desk.provider.user["email"] = "changed@example.com"
    again = orjson.loads((await desk.sign_in()).user)
    assert again["id"] == first["id"], "known by who they are, not by their address"
    assert len(desk.shop.collections.records) == 1


async def test_a_state_is_good_once_and_in_its_own_browser(desk: Desk):
    back = await desk.consent((await desk.begin()).authorization_url)
    for wrong in ({"cookie": ""}, {"cookie": "fastcms_oauth=another"}, {"state": "made-up"}):
        other = back | wrong
        with pytest.raises(Invalid) as refused:
            await desk.complete(other)
        assert refused.value.reason == "OAUTH_STATE_INVALID"
        back = await desk.consent((await desk.begin()).authorization_url)
    assert (await desk.complete(back)).access_token
    with pytest.raises(Invalid):
        await desk.complete(back)


@pytest.mark.parametrize(
    "value",
    [r'"a\012b"', r'"a\015\012Set-Cookie: x=y"', r'"a\000b"', r'"a\073 Domain=evil.example"', "abc", "x" * 8000],
)
async def test_a_cookie_that_is_not_ours_is_not_given_back(desk: Desk, value: str):
    desk.cookie = f"fastcms_oauth={value}"
    begun = await desk.begin()
    assert re.fullmatch(r"fastcms_oauth=[\w-]{43}", desk.cookie)
    assert (await desk.complete(await desk.consent(begun.authorization_url))).access_token


async def test_a_browser_keeps_its_cookie_from_one_sign_in_to_the_next(desk: Desk):
    first = await desk.begin()
    cookie = desk.cookie
    await desk.begin()
    assert desk.cookie == cookie
    assert (await desk.complete(await desk.consent(first.authorization_url))).access_token


async def test_a_state_of_another_realm_is_not_good(desk: Desk):
    back = await desk.consent((await desk.begin("vendors")).authorization_url)
    with pytest.raises(Invalid):
        await desk.complete(back, "customers")


async def test_an_account_is_linked_by_a_verified_address_only(desk: Desk):
    joined = await desk.shop.server.join({"email": EVA, "password": PASSWORD})
    desk.provider.user["email_verified"] = False
    with pytest.raises(Denied) as refused:
        await desk.sign_in()
    assert refused.value.reason == "EMAIL_NOT_VERIFIED"
    desk.provider.user["email_verified"] = True
    answer = await desk.sign_in()
    assert orjson.loads(answer.user)["id"] == orjson.loads(joined.user)["id"]


async def test_who_registered_with_a_strangers_address_is_shut_out_by_its_owner(desk: Desk):
    squatter = await desk.shop.server.join({"email": EVA, "password": PASSWORD})
    owner = await desk.sign_in()
    assert orjson.loads(owner.user)["verified"] is True
    with pytest.raises(Unauthenticated):
        await desk.shop.server.me(squatter.access_token, "customers")
    with pytest.raises(Unauthenticated):
        await desk.shop.server.login(EVA, PASSWORD, collection="customers")


async def test_who_squats_an_address_by_a_provider_is_shut_out_by_its_owner(desk: Desk):
    desk.provider.user["email_verified"] = False
    squatter = await desk.sign_in()
    desk.provider.user = {"sub": "u-2", "email": EVA, "email_verified": True}
    owner = await desk.sign_in()
    assert orjson.loads(owner.user)["id"] == orjson.loads(squatter.user)["id"]
    assert await desk.links(owner.access_token) == [("local", "u-2")]
    desk.provider.user = {"sub": "u-1", "email": EVA, "email_verified": False}
    with pytest.raises(Denied) as refused:
        await desk.sign_in()
    assert refused.value.reason == "EMAIL_NOT_VERIFIED"


@pytest.mark.parametrize(
    "lies",
    [
        {"nonce": "another"}, {"nonce": None}, {"iss": "https://evil.example.com"}, {"aud": "another client"},
        {"exp": int(time.time()) - 3600}, {"sub": None}, {"sub": 7},
        {"aud": [CLIENT_ID, "another"], "azp": "another"},
    ],
)  # fmt: skip
async def test_an_id_token_that_is_not_for_us_is_refused(desk: Desk, lies: dict[str, Any]):
    desk.provider.lies = lies
    with pytest.raises(Unauthenticated) as refused:
        await desk.sign_in()
    assert refused.value.reason == "OAUTH_REFUSED"
    assert desk.shop.collections.records == {}


async def test_an_id_token_of_another_key_is_refused_and_a_new_key_found(desk: Desk):
    assert (await desk.sign_in()).access_token
    desk.provider.signs_with = ECKey.generate_key("P-256", {"kid": "k1", "use": "sig"})
    with pytest.raises(Unauthenticated):
        await desk.sign_in()
    desk.provider.key = desk.provider.signs_with
    assert (await desk.sign_in()).access_token


async def test_the_address_is_asked_for_where_the_token_lacks_it(desk: Desk):
    desk.provider.lies = {"email": None, "email_verified": None}
    assert orjson.loads((await desk.sign_in()).user)["email"] == EVA
    desk.provider.user = {"sub": "u-2"}
    with pytest.raises(Denied) as refused:
        await desk.sign_in()
    assert refused.value.reason == "EMAIL_REQUIRED"


async def test_the_second_factor_is_asked_for_and_the_same_return_brings_it(desk: Desk):
    answer = await desk.sign_in()
    mfa = desk.shop.server.mfa
    setup = await desk.shop.server.call(
        mfa.SetUpMfa, mfa_pb2.SetUpMfaRequest(collection="customers"), answer.access_token
    )
    totp = pyotp.TOTP(setup.secret)
    step = int(time.time()) // 30
    enable = mfa_pb2.EnableMfaRequest(collection="customers", code=totp.generate_otp(step))
    await desk.shop.server.call(mfa.EnableMfa, enable, answer.access_token)
    back = await desk.consent((await desk.begin()).authorization_url)
    with pytest.raises(Unauthenticated) as refused:
        await desk.complete(back)
    assert refused.value.reason == "MFA_REQUIRED"
    with pytest.raises(Unauthenticated) as refused:
        await desk.complete(back, mfa_code="000000")
    assert refused.value.reason == "MFA_CODE_INVALID"
    with pytest.raises(Invalid):
        await desk.complete(back | {"cookie": ""}, mfa_code=totp.generate_otp(step + 1))
    assert (await desk.complete(back, mfa_code=totp.generate_otp(step + 1))).access_token
    with pytest.raises(Invalid):
        await desk.complete(back)


async def test_two_first_sign_ins_at_once_make_one_account(desk: Desk):
    urls = [(await desk.begin()).authorization_url for _ in range(4)]
    backs = [await desk.consent(url) for url in urls]
    answers = await asyncio.gather(*(desk.complete(back) for back in backs))
    assert len({orjson.loads(one.user)["id"] for one in answers}) == 1
    assert len(desk.shop.collections.records) == 1


async def test_a_link_is_shown_and_taken_away_unless_it_is_the_last_way_in(desk: Desk):
    answer = await desk.sign_in()
    ask = oauth_pb2.GetOAuthLinkRequest(collection="customers", provider="local")
    link = await desk.shop.server.call(desk.shop.server.oauth.GetOAuthLink, ask, answer.access_token)
    assert (link.provider, link.subject, link.email) == ("local", "u-1", EVA)
    with pytest.raises(Conflict) as refused:
        await desk.unlink(answer.access_token)
    assert refused.value.reason == "LAST_SIGN_IN_METHOD"
    await desk.shop.server.join({"email": "otto@example.com", "password": PASSWORD})
    with pytest.raises(NotFound):
        other = await desk.shop.server.login("otto@example.com", PASSWORD, collection="customers")
        await desk.unlink(other.access_token)


async def test_secrets_are_written_and_never_read(desk: Desk):
    shown = await desk.admin_call("GetOAuthProvider", id=desk.provider_id)
    assert shown.has_client_secret
    assert CLIENT_SECRET not in str(shown) + str(await desk.admin_call("ListOAuthProviders"))
    assert "client_secret" not in shown.DESCRIPTOR.fields_by_name
    await desk.admin_call(
        "UpdateOAuthProvider", id=desk.provider_id, client_secret="wrong", update_mask={"paths": ["client_secret"]}
    )
    with pytest.raises(Unauthenticated) as refused:
        await desk.sign_in()
    assert refused.value.reason == "OAUTH_REFUSED"


async def test_a_provider_can_be_switched_off_and_removed(desk: Desk):
    options = oauth_pb2.ListOAuthOptionsRequest(collection="customers")

    async def names() -> list[str]:
        answer = await desk.shop.server.call(desk.shop.server.oauth.ListOAuthOptions, options)
        return [one.name for one in answer.providers]

    assert await names() == ["local"]
    await desk.admin_call("UpdateOAuthProvider", id=desk.provider_id, enabled=False, update_mask={"paths": ["enabled"]})
    assert await names() == []
    with pytest.raises(NotFound):
        await desk.begin()
    await desk.admin_call("DeleteOAuthProvider", id=desk.provider_id)
    with pytest.raises(NotFound):
        await desk.admin_call("GetOAuthProvider", id=desk.provider_id)
    desk.shop.collections.options["vendors"] = {"oauth_enabled": False}
    with pytest.raises(Denied) as refused:
        await desk.begin("vendors")
    assert refused.value.reason == "OAUTH_DISABLED"


async def test_a_provider_that_is_away_is_said_to_be_away(desk: Desk):
    await desk.admin_call(
        "UpdateOAuthProvider", id=desk.provider_id, issuer="http://127.0.0.1:1", update_mask={"paths": ["issuer"]}
    )
    with pytest.raises(Unavailable) as refused:
        await desk.begin()
    assert refused.value.reason == "PROVIDER_UNAVAILABLE"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/back",
        "javascript:alert(1)",
        "ftp://x/y",
        "https://x/y#z",
        "https://",
        "https://[::1",
        "https://[x]/",
        "https://a\u2100b",
    ],
)
async def test_a_bad_redirect_address_is_named(desk: Desk, url: str):
    request = oauth_pb2.AuthorizeOAuthRequest(collection="customers", provider="local", redirect_url=url)
    with pytest.raises(Invalid) as refused:
        await desk.shop.server.call(desk.shop.server.oauth.AuthorizeOAuth, request)
    assert refused.value.fields[0].field == "redirect_url"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"name": "Local!"}, "name"),
        ({"issuer": None}, "issuer"),
        ({"issuer": "ftp://x"}, "issuer"),
        ({"issuer": "http://[::1"}, "issuer"),
        ({"kind": "facebook"}, "kind"),
        ({"client_id": ""}, "client_id"),
        ({"scopes": ["a b"]}, "scopes"),
    ],
)
async def test_a_bad_provider_is_refused_by_field(desk: Desk, fields: dict[str, Any], wrong: str):
    good = {"name": "other", "kind": "oidc", "client_id": "x", "issuer": "https://id.example.com"}
    with pytest.raises(Invalid) as refused:
        await desk.admin_call("CreateOAuthProvider", **good | fields)
    assert [one.field for one in refused.value.fields] == [wrong]
    with pytest.raises(Conflict):
        await desk.admin_call("CreateOAuthProvider", **good | {"name": "local"})
