"""Who may call what, and what the service is told of them."""

from __future__ import annotations

import httpx
import pytest

from fastcms_common import redis_keys
from fastcms_common.ids import is_uuid
from tests.contract.gateway.server import Running, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_token_and_where_the_call_comes_from_are_passed_on(gateway: Running):
    headers = await gateway.sign_in()
    answer = await gateway.client.get(
        "/made-up/me", headers=headers | {"User-Agent": "té/1".encode("latin-1"), "X-Request-Id": "abc-1._"}
    )
    assert answer.json() == {
        "authorization": headers["Authorization"],
        "request_id": "abc-1._",
        "client_ip": "127.0.0.1",
        "user_agent": "té/1",
    }
    assert answer.headers["x-request-id"] == "abc-1._"


@pytest.mark.parametrize("sent", ["", "a b", "a" * 129, "ä", "a\tb", "a,b", "<script>"])
async def test_a_request_id_that_is_not_one_is_replaced(gateway: Running, sent: str):
    answer = await gateway.client.get("/health", headers={"X-Request-Id": sent.encode()})
    assert is_uuid(answer.headers["x-request-id"])


async def test_without_a_token_nobody_is_let_in(gateway: Running):
    answer = await gateway.client.get("/made-up/me")
    assert answer.status_code == httpx.codes.UNAUTHORIZED
    assert answer.headers["www-authenticate"] == 'Bearer realm="fastcms"'


@pytest.mark.parametrize("sent", ["Bearer x", "Bearer", "Basic YTpi", "bearer a.b.c", "Bearer " + "x" * 9000])
@pytest.mark.parametrize("path", ["/made-up/me", "/made-up/maybe"])
async def test_a_bad_token_is_refused_wherever_it_is_looked_at(gateway: Running, path: str, sent: str):
    answer = await gateway.client.get(path, headers={"Authorization": sent})
    assert answer.status_code == httpx.codes.UNAUTHORIZED
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_two_tokens_are_none(gateway: Running):
    good = (await gateway.sign_in())["Authorization"]
    request = gateway.client.build_request(
        "GET", "/made-up/me", headers=[("Authorization", good), ("Authorization", good)]
    )
    assert (await gateway.client.send(request)).status_code == httpx.codes.UNAUTHORIZED


async def test_a_public_rpc_does_not_look_at_a_token(gateway: Running):
    answer = await gateway.client.post("/made-up/echo", json={}, headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == httpx.codes.OK
    refused = await gateway.client.post(
        "/made-up/fail", json={"how": "unauthenticated"}, headers={"Authorization": "Bearer nonsense"}
    )
    assert refused.headers["www-authenticate"] == 'Bearer realm="fastcms"'


async def test_an_optional_rpc_knows_its_caller_or_none(gateway: Running):
    assert (await gateway.client.get("/made-up/maybe")).json()["authorization"] is None
    headers = await gateway.sign_in()
    assert (await gateway.client.get("/made-up/maybe", headers=headers)).json()["authorization"]


async def test_only_admins_govern_and_not_as_someone_else(gateway: Running):
    user = await gateway.client.post("/made-up/govern", headers=await gateway.sign_in())
    assert user.status_code == httpx.codes.FORBIDDEN
    assert user.json()["code"] == "ADMIN_REQUIRED"
    acting = await gateway.sign_in(role="admin", act={"sub": "root"})
    acted = await gateway.client.post("/made-up/govern", headers=acting)
    assert acted.json()["code"] == "FORBIDDEN_WHILE_IMPERSONATING"
    admin = await gateway.client.post("/made-up/govern", headers=await gateway.sign_in(role="admin"))
    assert admin.status_code == httpx.codes.NO_CONTENT


async def test_an_ended_session_is_refused(gateway: Running):
    headers = await gateway.sign_in("s9")
    assert (await gateway.client.get("/made-up/me", headers=headers)).status_code == httpx.codes.OK
    await gateway.redis.delete(redis_keys.session("s9"))
    answer = await gateway.client.get("/made-up/me", headers=headers)
    assert answer.status_code == httpx.codes.UNAUTHORIZED
    assert answer.json()["code"] == "SESSION_REVOKED"


async def test_rpcs_of_services_have_no_path(gateway: Running):
    for path in ("/made_up.v1.MadeUpService/Hidden", "/made-up/hidden"):
        assert (await gateway.client.post(path)).status_code == httpx.codes.NOT_FOUND


async def test_who_is_asked_for_first_then_what_they_say(gateway: Running):
    answer = await gateway.client.post("/made-up/govern", content=b"{", headers={"Content-Type": "text/plain"})
    assert answer.status_code == httpx.codes.UNAUTHORIZED


async def test_a_trusted_proxy_says_who_the_client_is(redis_url: str):
    async with running(redis_url, trusted_proxies="127.0.0.0/8") as gateway:
        answer = await gateway.client.get("/made-up/maybe", headers={"X-Forwarded-For": "6.6.6.6, 2001:DB8::1"})
        assert answer.json()["client_ip"] == "2001:db8::1"


async def test_nobody_else_does(gateway: Running):
    answer = await gateway.client.get(
        "/made-up/maybe", headers={"X-Forwarded-For": "1.1.1.1", "X-Client-Ip": "1.1.1.1"}
    )
    assert answer.json()["client_ip"] == "127.0.0.1"
