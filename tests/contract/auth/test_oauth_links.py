"""Linking and unlinking a further provider while one is signed in."""

from __future__ import annotations

import orjson
import pytest

from auth_service.oauth_store import OAuthStore
from fastcms.auth.v1 import identities_pb2, oauth_pb2
from fastcms_common.errors import Conflict, Denied, Invalid, Unauthenticated
from fastcms_common.storage import open_store
from tests.contract.auth.desk import Desk
from tests.contract.auth.server import PASSWORD

OTTO = {"email": "otto@example.com", "password": PASSWORD}


async def otto(desk: Desk) -> str:
    """The token of somebody with a password, whose address the provider does not know."""
    return str((await desk.shop.server.join(OTTO)).access_token)


async def test_a_link_is_added_listed_signed_in_with_and_taken_away(desk: Desk):
    token = await otto(desk)
    assert await desk.links(token) == []
    link = await desk.link(token, password=PASSWORD)
    assert (link.provider, link.subject, link.email) == ("local", "u-1", "eva@example.com")
    assert await desk.links(token) == [("local", "u-1")]
    assert orjson.loads((await desk.sign_in()).user)["email"] == OTTO["email"], "by who they are, not by their address"
    await desk.unlink(token)
    assert await desk.links(token) == []
    assert len(await desk.shop.server.audit("oauth_linked")) == 1
    assert len(await desk.shop.server.audit("oauth_unlinked")) == 1


async def test_linking_again_changes_nothing(desk: Desk):
    token = await otto(desk)
    first = await desk.link(token, password=PASSWORD)
    assert await desk.link(token, password=PASSWORD) == first
    assert len(await desk.shop.server.audit("oauth_linked")) == 1


@pytest.mark.parametrize("password", ["", "wrong"])
async def test_a_link_takes_the_password_and_a_guess_counts(desk: Desk, password: str):
    token = await otto(desk)
    back = await desk.consent((await desk.begin(bearer=token)).authorization_url)
    with pytest.raises(Invalid) as caught:
        await desk.link(token, back, password=password)
    assert [one.field for one in caught.value.fields] == ["password"]
    assert len(await desk.shop.server.audit("login_failed")) == (1 if password else 0)
    assert (await desk.link(token, back, password=PASSWORD)).subject == "u-1", "what came back is not used up by it"


async def test_who_signs_in_by_one_provider_only_links_another_without_a_password(desk: Desk):
    token = (await desk.sign_in()).access_token
    await desk.offer("second", "oidc", desk.provider.base)
    await desk.link(token)
    assert await desk.links(token) == [("local", "u-1"), ("second", "u-1")]
    await desk.unlink(token)
    desk.name = "local"
    with pytest.raises(Conflict) as caught:
        await desk.unlink(token)
    assert caught.value.reason == "LAST_SIGN_IN_METHOD"


async def test_what_is_linked_to_somebody_else_stays_theirs(desk: Desk):
    eva = await desk.sign_in()
    token = await otto(desk)
    with pytest.raises(Conflict) as caught:
        await desk.link(token, password=PASSWORD)
    assert caught.value.reason == "OAUTH_LINKED"
    assert await desk.links(eva.access_token) == [("local", "u-1")]


async def test_one_account_at_a_provider_is_enough(desk: Desk):
    token = await otto(desk)
    await desk.link(token, password=PASSWORD)
    desk.provider.user = {"sub": "u-2"}
    with pytest.raises(Conflict) as caught:
        await desk.link(token, password=PASSWORD)
    assert caught.value.reason == "OAUTH_LINK_EXISTS"


async def test_a_state_is_for_what_and_for_whom_it_was_made(desk: Desk):
    token = await otto(desk)
    stranger = (await desk.shop.server.join(OTTO | {"email": "mallory@example.com"})).access_token
    for made_by, used_by in ((None, token), (stranger, token)):
        back = await desk.consent((await desk.begin(bearer=made_by)).authorization_url)
        with pytest.raises(Invalid) as caught:
            await desk.link(used_by, back, password=PASSWORD)
        assert caught.value.reason == "OAUTH_STATE_INVALID"
    back = await desk.consent((await desk.begin(bearer=token)).authorization_url)
    with pytest.raises(Invalid):
        await desk.complete(back)
    back = await desk.consent((await desk.begin(bearer=token)).authorization_url)
    with pytest.raises(Invalid):
        await desk.link(token, back | {"cookie": "fastcms_oauth=another"}, password=PASSWORD)
    assert await desk.links(token) == []


async def test_nobody_links_in_somebody_elses_name(desk: Desk):
    answer = await desk.shop.server.join(OTTO)
    request = identities_pb2.StartImpersonationRequest(
        actor_token=desk.admin, target_id=orjson.loads(answer.user)["id"], duration=60
    )
    server = desk.shop.server
    started = await server.call(server.identities.StartImpersonation, request, await server.service_token())
    with pytest.raises(Denied) as caught:
        await desk.begin(bearer=started.access_token)
    assert caught.value.reason == "FORBIDDEN_WHILE_IMPERSONATING"
    with pytest.raises(Denied):
        await desk.link(started.access_token, {"code": "x", "state": "y"}, password=PASSWORD)
    with pytest.raises(Unauthenticated):
        await server.call(server.oauth.ListOAuthLinks, oauth_pb2.ListOAuthLinksRequest(collection="customers"))


async def test_nothing_tells_of_a_provider_once_the_account_is_deleted(desk: Desk):
    eva = orjson.loads((await desk.sign_in()).user)["id"]
    server = desk.shop.server
    storage = await open_store(server.settings.storage_url, "auth")
    store = OAuthStore(storage)
    try:
        await store.prepare()
        assert await store.links_of(eva)
        await server.call(server.identities.DeleteIdentity, identities_pb2.DeleteIdentityRequest(id=eva), desk.admin)
        assert not await store.links_of(eva)
    finally:
        await storage.close()
    again = orjson.loads((await desk.sign_in()).user)
    assert again["id"] != eva
    assert again["email"] == "eva@example.com"
