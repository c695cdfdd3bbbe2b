"""Second factors and sign-in by a provider, over HTTP, through all services."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from queue import Queue
from typing import Any
from uuid import uuid4

import httpx
import pyotp
import pytest

from tests.contract.auth.openid import CLIENT_ID, CLIENT_SECRET, OpenIdProvider, openid_provider, parameters
from tests.suite import Suite

API = "/api/v1"
PASSWORD = "securepassword123"
BACK = "https://app.example.com/back"


@pytest.fixture(scope="module")
def customers(admin_client: httpx.Client) -> Iterator[str]:
    """The path of a fresh auth collection's routes, with second factors allowed."""
    before = admin_client.get(f"{API}/settings/auth").json()["mfa_enabled"]
    admin_client.patch(f"{API}/settings/auth", json={"mfa_enabled": True})
    name = f"people_{uuid4().hex[:8]}"
    answer = admin_client.post(f"{API}/collections", json={"name": name, "type": "auth", "schema": {"fields": []}})
    assert answer.status_code == 201, answer.text
    yield f"{API}/collections/{name}/auth"
    admin_client.patch(f"{API}/settings/auth", json={"mfa_enabled": before})


@pytest.fixture
def client(suite: Suite) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=suite.base_url, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIdProvider]:
    """An OpenID provider in a thread of its own."""
    started: Queue[tuple[OpenIdProvider, asyncio.AbstractEventLoop, asyncio.Event]] = Queue()

    async def run() -> None:
        end = asyncio.Event()
        async with openid_provider() as running:
            started.put((running, asyncio.get_running_loop(), end))
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    running, loop, end = started.get(timeout=20)
    running.user = {"sub": uuid4().hex, "email": f"{uuid4().hex[:8]}@example.com", "email_verified": True}
    yield running
    loop.call_soon_threadsafe(end.set)
    thread.join()


def bearer(answer: httpx.Response) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_a_second_factor_from_setup_to_recovery(client: httpx.Client, customers: str):
    email = f"{uuid4().hex[:12]}@example.com"
    answer = client.post(f"{customers}/register", json={"email": email, "password": PASSWORD})
    setup = client.post(f"{customers}/mfa/setup", headers=bearer(answer)).json()
    assert setup.keys() == {"secret", "otpauth_url", "qr_svg"}
    totp, step = pyotp.TOTP(setup["secret"]), int(time.time()) // 30
    enabled = client.post(
        f"{customers}/mfa/enable", json={"code": totp.generate_otp(step)}, headers=bearer(answer)
    ).json()
    assert len(enabled["recovery_codes"]) == 10
    assert client.get(f"{customers}/mfa", headers=bearer(answer)).json() == {
        "enabled": True,
        "recovery_codes_left": 10,
    }

    def login(**more: Any) -> httpx.Response:
        return client.post(f"{customers}/login", json={"email": email, "password": PASSWORD, **more})

    asked = login()
    assert (asked.status_code, asked.json()["code"]) == (401, "MFA_REQUIRED")
    assert login(mfa_code=totp.generate_otp(step + 1)).status_code == 200
    assert login(mfa_code=totp.generate_otp(step + 1)).json()["code"] == "MFA_CODE_INVALID"
    assert login(mfa_code=enabled["recovery_codes"][3]).status_code == 200
    off = client.post(f"{customers}/mfa/disable", json={"password": PASSWORD}, headers=bearer(answer))
    assert off.status_code == 204
    assert login().status_code == 200


def test_signing_in_by_a_provider_from_the_browser_that_began(
    admin_client: httpx.Client, client: httpx.Client, customers: str, provider: OpenIdProvider, suite: Suite
):
    made = admin_client.post(
        f"{API}/admin/oauth-providers",
        json={
            "name": f"p-{uuid4().hex[:8]}", "kind": "oidc", "issuer": provider.base,
            "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
        },
    )  # fmt: skip
    assert made.status_code == 201, made.text
    assert made.json()["has_client_secret"] is True
    assert CLIENT_SECRET not in made.text
    name = made.json()["name"]
    offered = client.get(f"{customers}/oauth/providers").json()["providers"]
    assert {"name": name, "display_name": name, "kind": "oidc"} in offered
    begun = client.get(f"{customers}/oauth/{name}/authorize", params={"redirect_url": BACK})
    assert begun.json().keys() == {"authorization_url", "state"}
    assert "HttpOnly" in begun.headers["Set-Cookie"]
    with httpx.Client(trust_env=False) as browser:
        back = parameters(browser.get(begun.json()["authorization_url"]).headers["location"])
    with httpx.Client(base_url=suite.base_url, trust_env=False) as stranger:
        refused = stranger.post(f"{customers}/oauth/{name}/callback", json=back)
        assert (refused.status_code, refused.json()["code"]) == (422, "OAUTH_STATE_INVALID")
    begun = client.get(f"{customers}/oauth/{name}/authorize", params={"redirect_url": BACK})
    with httpx.Client(trust_env=False) as browser:
        back = parameters(browser.get(begun.json()["authorization_url"]).headers["location"])
    signed_in = client.post(f"{customers}/oauth/{name}/callback", json=back)
    assert signed_in.status_code == 200, signed_in.text
    assert signed_in.json()["user"]["email"] == provider.user["email"]
    link = client.get(f"{customers}/me/oauth/{name}", headers=bearer(signed_in))
    assert link.json()["subject"] == provider.user["sub"]
    last = client.delete(f"{customers}/me/oauth/{name}", headers=bearer(signed_in))
    assert (last.status_code, last.json()["code"]) == (409, "LAST_SIGN_IN_METHOD")


def test_a_further_provider_is_linked_by_somebody_who_is_signed_in(
    admin_client: httpx.Client, client: httpx.Client, customers: str, provider: OpenIdProvider
):
    name = f"p-{uuid4().hex[:8]}"
    made = {
        "name": name,
        "kind": "oidc",
        "issuer": provider.base,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }
    assert admin_client.post(f"{API}/admin/oauth-providers", json=made).status_code == 201
    email = f"{uuid4().hex[:8]}@example.com"
    me = bearer(client.post(f"{customers}/register", json={"email": email, "password": PASSWORD}))
    path = f"{customers}/me/oauth"
    begun = client.get(f"{path}/{name}/authorize", params={"redirect_url": BACK}, headers=me)
    with httpx.Client(trust_env=False) as browser:
        back = parameters(browser.get(begun.json()["authorization_url"]).headers["location"])
    assert client.post(f"{path}/{name}/callback", json=back, headers=me).status_code == 422
    linked = client.post(f"{path}/{name}/callback", json=back | {"password": PASSWORD}, headers=me)
    assert (linked.status_code, linked.json()["provider"]) == (201, name)
    assert client.get(path, headers=me).json() == [linked.json()]
    assert client.delete(f"{path}/{name}", headers=me).status_code == 204
    assert client.get(path, headers=me).json() == []
