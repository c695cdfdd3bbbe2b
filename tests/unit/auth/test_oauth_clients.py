"""Whatever a provider says of itself, it is its fault and no error of ours."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from auth_service.oauth_clients import Flow, OAuthClients
from auth_service.oauth_providers import new_provider
from fastcms_common.errors import Unauthenticated, Unavailable

ISSUER = "https://id.example.com"
DISCOVERY = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/keys",
    "userinfo_endpoint": f"{ISSUER}/user",
}
FLOW = Flow("nonce", "v" * 43, "https://app.example.com/back")
PROVIDER = new_provider(name="local", display_name="Local", kind="oidc", client_id="client", issuer=ISSUER)
NO_ADDRESSES = [None, 5, "", "x", "http://[", "http://x:port/", "\x00", ["https://x"], {}]


def clients(discovery: dict[str, Any], access_token: Any = "token") -> OAuthClients:
    """The client side of a provider that signs its tokens well and says these things besides."""
    key = ECKey.generate_key("P-256", {"kid": "1"})
    claims = {"iss": ISSUER, "aud": "client", "sub": "u-1", "nonce": FLOW.nonce, "iat": 1, "exp": 9_999_999_999}
    answers: dict[str, Any] = {
        "/.well-known/openid-configuration": DISCOVERY | discovery,
        "/token": {"id_token": jwt.encode({"alg": "ES256", "kid": "1"}, claims, key), "access_token": access_token},
        "/keys": {"keys": [key.as_dict(private=False)]},
        "/user": {"sub": "u-1", "email": "eva@example.com", "email_verified": True},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        known = answers.get(request.url.path)
        return httpx.Response(404, text="nothing here") if known is None else httpx.Response(200, json=known)

    return OAuthClients(httpx.AsyncClient(transport=httpx.MockTransport(answer)))


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"])
@pytest.mark.parametrize("value", NO_ADDRESSES)
async def test_what_is_no_address_makes_a_provider_one_that_is_away_or_refuses(name: str, value: object):
    oauth = clients({name: value})
    with pytest.raises((Unavailable, Unauthenticated)):
        await oauth.authorization_url(PROVIDER, FLOW, "state")
        await oauth.exchange(PROVIDER, "secret", FLOW, "code")


@pytest.mark.parametrize("value", [None, 5, True, "client_secret_post", {}])
async def test_ways_to_prove_oneself_that_are_no_list_are_as_if_not_told(value: object):
    oauth = clients({"token_endpoint_auth_methods_supported": value})
    assert (await oauth.exchange(PROVIDER, "secret", FLOW, "code")).email == "eva@example.com"


@pytest.mark.parametrize("access_token", ["é", 5, ["token"]])
async def test_an_access_token_that_fits_no_header_is_no_sign_in(access_token: object):
    oauth = clients({}, access_token)
    with pytest.raises((Unavailable, Unauthenticated)):
        await oauth.exchange(PROVIDER, "secret", FLOW, "code")
