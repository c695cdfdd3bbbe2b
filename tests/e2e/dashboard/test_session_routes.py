"""The dashboard over plain HTTP: its files, and the cookie that other sites cannot use."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import httpx
import pytest

from gateway.dashboard_assets import STATIC, Assets
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.suite import Suite

CREDENTIALS = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}


@pytest.fixture
def client(suite: Suite) -> Iterator[httpx.Client]:
    """A client that says it is a page of the gateway."""
    with httpx.Client(base_url=suite.base_url, headers={"Origin": suite.base_url}, trust_env=False) as client:
        yield client


def test_the_refresh_token_goes_into_the_cookie_and_not_into_the_answer(client: httpx.Client):
    answer = client.post("/admin/session/login", json=CREDENTIALS)
    assert answer.status_code == 200
    assert answer.json().keys() == {"access_token", "token_type", "expires_in", "user"}
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("fastcms_dashboard=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/admin/session"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert answer.headers["cache-control"] == "no-store"


def test_over_https_the_cookie_is_secure(suite: Suite):
    host = suite.base_url.removeprefix("http://")
    answer = httpx.post(
        f"{suite.base_url}/admin/session/login",
        json=CREDENTIALS,
        headers={"Origin": f"https://{host}"},
        trust_env=False,
    )
    assert "Secure" in answer.headers["set-cookie"].split("; ")


def test_the_cookie_gives_new_access_tokens_until_the_session_ends(client: httpx.Client):
    token = client.post("/admin/session/login", json=CREDENTIALS).json()["access_token"]
    before = client.cookies["fastcms_dashboard"]
    refreshed = client.post("/admin/session/refresh", json={})
    assert refreshed.status_code == 200
    assert refreshed.json()["user"]["email"] == ADMIN_EMAIL
    assert client.cookies["fastcms_dashboard"] != before
    bearer = {"Authorization": f"Bearer {refreshed.json()['access_token']}"}
    assert client.get("/api/v1/auth/me", headers=bearer).status_code == 200

    assert client.post("/admin/session/logout", json={}, headers=bearer).status_code == 204
    assert "fastcms_dashboard" not in client.cookies
    for dead in (bearer, {"Authorization": f"Bearer {token}"}):
        assert client.get("/api/v1/auth/me", headers=dead).status_code == 401
    client.cookies.set("fastcms_dashboard", before, path="/admin/session")
    assert client.post("/admin/session/refresh", json={}).status_code == 401


def test_a_dead_cookie_is_taken_back(client: httpx.Client):
    client.cookies.set("fastcms_dashboard", "not-a-token", path="/admin/session")
    answer = client.post("/admin/session/refresh", json={})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Max-Age=0" in answer.headers["set-cookie"]


@pytest.mark.parametrize("route", ["login", "setup", "refresh", "logout"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    ],
    ids=["another origin", "no origin to tell", "none that can be read", "another site", "a neighbour", "nothing said"],
)
def test_only_pages_of_the_gateway_may_use_the_routes(suite: Suite, route: str, headers: dict[str, str]):
    answer = httpx.post(f"{suite.base_url}/admin/session/{route}", json=CREDENTIALS, headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (403, "FOREIGN_ORIGIN")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("route", ["login", "setup", "refresh", "logout"])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_what_a_form_can_send_is_refused(client: httpx.Client, route: str, kind: str):
    answer = client.post(f"/admin/session/{route}", content=b'{"a": "b"}', headers={"Content-Type": kind})
    assert answer.status_code == 415


def test_other_sites_get_no_leave_to_read(suite: Suite):
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{suite.base_url}/admin/session/refresh", headers=asked, trust_env=False)
    assert "access-control-allow-origin" not in answer.headers


def test_bad_input_is_told_as_everywhere(client: httpx.Client):
    answer = client.post("/admin/session/login", json={"email": 1})
    assert answer.status_code == 422
    assert {"email", "password"} <= {error["field"] for error in answer.json()["errors"]}
    assert (
        client.post("/admin/session/login", content=b"{", headers={"Content-Type": "application/json"}).status_code
        == 400
    )
    assert client.post("/admin/session/setup", json=CREDENTIALS).json()["code"] == "REGISTRATION_CLOSED"
    too_much = client.post(
        "/admin/session/refresh", content=b" " * 20_000, headers={"Content-Type": "application/json"}
    )
    assert too_much.status_code in (401, 413)


def test_the_page_lets_nothing_run_but_its_own_files(client: httpx.Client):
    answer = client.get("/admin/users")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert "<script>" not in answer.text
    assert " style=" not in answer.text
    assert answer.headers["cache-control"] == "no-cache"


def test_files_are_kept_for_good_under_their_version(client: httpx.Client):
    page = client.get("/admin")
    assert client.get("/admin", headers={"If-None-Match": page.headers["etag"]}).status_code == 304
    address = f"/admin/assets/{Assets().version}/main.js"
    assert address in page.text
    answer = client.get(address)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-encoding"] == "gzip"
    assert client.get(address, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    plain = client.get(address, headers={"Accept-Encoding": "identity"})
    assert plain.content == answer.content == (STATIC / "main.js").read_bytes()
    assert client.get("/admin/assets/another/main.js").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["main.py", "index.html", "..%2Findex.html", "vendor/preact.LICENSE", "nothing.js"])
def test_nothing_else_is_served(client: httpx.Client, path: str):
    assert client.get(f"/admin/assets/{Assets().version}/{path}").status_code == 404


def test_all_of_it_is_under_150_kilobytes():
    assets = Assets()
    assert assets.compressed_size < 150_000
    assert gzip.decompress(assets.page.compressed) == assets.page.body


def test_no_screen_passes_300_lines():
    lengths = {
        path.name: len(path.read_text().splitlines()) for path in STATIC.rglob("*.js") if "vendor" not in path.parts
    }
    assert max(lengths.values()) < 300, lengths
