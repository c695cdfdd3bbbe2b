"""Signing in by GitHub and by Microsoft: local providers that speak as these do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from fastcms_common.errors import Denied, Unauthenticated, Unavailable
from tests.contract.auth.desk import BACK, Desk
from tests.contract.auth.openid import GitHub, Microsoft, openid_provider, parameters
from tests.contract.auth.server import PASSWORD
from tests.contract.auth.shop import Shop

EVA = "eva@example.com"


@pytest.fixture
async def github(shop: Shop) -> AsyncIterator[tuple[Desk, GitHub]]:
    root = await shop.server.register()
    async with openid_provider(GitHub) as provider:
        desk = Desk(shop, provider, root.access_token)
        desk.provider_id = await desk.offer("github", "github", provider.base)
        yield desk, provider


@pytest.fixture
async def microsoft(shop: Shop) -> AsyncIterator[tuple[Desk, Microsoft]]:
    root = await shop.server.register()
    async with openid_provider(Microsoft) as provider:
        desk = Desk(shop, provider, root.access_token)
        desk.provider_id = await desk.offer("microsoft", "microsoft", provider.base)
        yield desk, provider


async def refused(desk: Desk, error: type[Exception]) -> str:
    with pytest.raises(error) as caught:
        await desk.sign_in()
    assert desk.shop.collections.records == {}
    return caught.value.reason  # type: ignore[attr-defined, no-any-return]


async def test_github_is_asked_who_it_was_and_for_their_primary_address(github: tuple[Desk, GitHub]):
    desk, provider = github
    begun = await desk.begin()
    assert begun.authorization_url.startswith(f"{provider.base}/login/oauth/authorize?")
    assert parameters(begun.authorization_url)["redirect_uri"] == BACK
    first = orjson.loads((await desk.complete(await desk.consent(begun.authorization_url))).user)
    assert (first["email"], first["verified"]) == (EVA, True)
    provider.account["login"], provider.emails[1]["email"] = "renamed", "new@example.com"
    assert orjson.loads((await desk.sign_in()).user)["id"] == first["id"], "known by their number there"


async def test_github_is_where_it_is_unless_an_issuer_says_otherwise(github: tuple[Desk, GitHub]):
    desk, _ = github
    await desk.offer("public", "github", "")
    assert (await desk.begin()).authorization_url.startswith("https://github.com/login/oauth/authorize?")


async def test_google_speaks_plain_openid_connect(desk: Desk):
    await desk.offer("google", "google", desk.provider.base)
    user = orjson.loads((await desk.sign_in()).user)
    assert (user["email"], user["verified"]) == (EVA, True)


async def test_an_error_that_github_sends_with_status_200_is_one(github: tuple[Desk, GitHub]):
    desk, _ = github
    await desk.admin_call(
        "UpdateOAuthProvider", id=desk.provider_id, client_secret="wrong", update_mask={"paths": ["client_secret"]}
    )
    assert await refused(desk, Unauthenticated) == "OAUTH_REFUSED"
    back = await desk.consent((await desk.begin()).authorization_url)
    with pytest.raises(Unauthenticated):
        await desk.complete(back | {"code": "made-up"})


async def test_an_address_that_github_has_not_verified_links_nobody(github: tuple[Desk, GitHub]):
    desk, provider = github
    await desk.shop.server.join({"email": EVA, "password": PASSWORD})
    provider.emails[1]["verified"] = False
    with pytest.raises(Denied) as caught:
        await desk.sign_in()
    assert caught.value.reason == "EMAIL_NOT_VERIFIED"


@pytest.mark.parametrize(
    ("emails", "account", "error", "reason"),
    [
        ([], {"id": 1}, Denied, "EMAIL_REQUIRED"),
        ([{"email": EVA, "primary": False, "verified": True}], {"id": 1}, Denied, "EMAIL_REQUIRED"),
        ([None, 7, {"primary": True, "verified": True}], {"id": 1}, Denied, "EMAIL_REQUIRED"),
        (403, {"id": 1}, Unauthenticated, "OAUTH_REFUSED"),
        ([], 401, Unauthenticated, "OAUTH_REFUSED"),
        ([], {"login": "octocat"}, Unauthenticated, "OAUTH_REFUSED"),
        ({"message": "?"}, {"id": 1}, Unauthenticated, "OAUTH_REFUSED"),
        ([], ["?"], Unauthenticated, "OAUTH_REFUSED"),
        (502, {"id": 1}, Unavailable, "PROVIDER_UNAVAILABLE"),
    ],
)
async def test_whatever_else_github_says_is_no_error_of_ours(
    github: tuple[Desk, GitHub], emails: Any, account: Any, error: type[Exception], reason: str
):
    desk, provider = github
    provider.emails, provider.account = emails, account
    assert await refused(desk, error) == reason


async def test_microsoft_has_an_issuer_for_each_tenant(microsoft: tuple[Desk, Microsoft]):
    desk, provider = microsoft
    provider.user["xms_edov"] = True
    user = orjson.loads((await desk.sign_in()).user)
    assert (user["email"], user["verified"]) == (EVA, True)


@pytest.mark.parametrize(
    "lies",
    [
        {"iss": "https://evil.example.com/v2.0"},
        {"tid": "another-tenant"},
        {"tid": None},
        {"tid": "x/../evil"},
        {"aud": "another client"},
    ],
)
async def test_a_token_that_is_not_its_tenants_is_refused(microsoft: tuple[Desk, Microsoft], lies: dict[str, Any]):
    desk, provider = microsoft
    provider.lies = lies
    assert await refused(desk, Unauthenticated) == "OAUTH_REFUSED"


@pytest.mark.parametrize("says", [{}, {"email_verified": True}, {"xms_edov": False}, {"xms_edov": "no"}])
async def test_what_a_tenants_admin_writes_as_an_address_takes_over_no_account(
    microsoft: tuple[Desk, Microsoft], says: dict[str, Any]
):
    desk, provider = microsoft
    await desk.shop.server.join({"email": EVA, "password": PASSWORD})
    provider.user |= says
    with pytest.raises(Denied) as caught:
        await desk.sign_in()
    assert caught.value.reason == "EMAIL_NOT_VERIFIED"


async def test_who_is_new_by_microsoft_has_an_address_that_is_still_to_be_verified(microsoft: tuple[Desk, Microsoft]):
    desk, _ = microsoft
    assert orjson.loads((await desk.sign_in()).user)["verified"] is False
