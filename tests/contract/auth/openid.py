"""An OpenID provider on a real port: discovery, keys, authorization with PKCE, tokens, userinfo. And what Microsoft and
GitHub do otherwise.

Its users consent at once. It checks what a provider has to check, and can be made to lie.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

import orjson
import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

from tests.ports import free_port

P = TypeVar("P", bound="OpenIdProvider")

CLIENT_ID, CLIENT_SECRET = "fastcms client", "s:ecret/%"


@dataclass
class OpenIdProvider:
    """One provider. `user` is who is signed in there; `lies` replaces claims of ID tokens."""

    base: str
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "k1", "use": "sig"}))
    user: dict[str, Any] = field(default_factory=lambda: {"sub": "u-1", "email": "eva@example.com"})
    lies: dict[str, Any] = field(default_factory=dict)
    signs_with: ECKey | None = None
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.discovery),
                Route("/keys", self.keys),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
                Route("/userinfo", self.userinfo),
            ]
        )

    async def discovery(self, request: Request) -> JSONResponse:
        paths = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
        endpoints = {f"{name}_endpoint": f"{self.base}/{path}" for name, path in paths.items()}
        return JSONResponse({"issuer": self.base, "jwks_uri": f"{self.base}/keys", **endpoints})

    async def keys(self, request: Request) -> JSONResponse:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def authorize(self, request: Request) -> RedirectResponse:
        query = dict(request.query_params)
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe()
        return self.sent_back(code, query)

    def sent_back(self, code: str, query: dict[str, str]) -> RedirectResponse:
        self.codes[code] = query
        back = urlencode({"code": code, "state": query["state"]})
        return RedirectResponse(f"{query['redirect_uri']}?{back}", status_code=302)

    def granted(self, form: dict[str, str]) -> dict[str, str] | None:
        """What was asked for with this code, once, to whoever has the verifier."""
        asked = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        good = asked is not None and asked["redirect_uri"] == form["redirect_uri"]
        return asked if asked is not None and good and asked["code_challenge"].encode() == challenge else None

    async def token(self, request: Request) -> JSONResponse:
        form = await read_form(request)
        basic = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        name, _, secret = basic.partition(":")
        if (unquote_plus(name), unquote_plus(secret)) != (CLIENT_ID, CLIENT_SECRET):
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = self.granted(form)
        if asked is None:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.base, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        claims = {name: value for name, value in (claims | self.user | self.lies).items() if value is not None}
        token = jwt.encode({"alg": "ES256", "kid": "k1"}, claims, self.signs_with or self.key)
        return JSONResponse({"access_token": "at-1", "token_type": "Bearer", "id_token": token})

    async def userinfo(self, request: Request) -> JSONResponse:
        assert request.headers["authorization"] == "Bearer at-1"
        return JSONResponse(self.user)


@dataclass
class Microsoft(OpenIdProvider):
    """The endpoint for the tenants of all: its documents name a template, its tokens the tenant in its place, and what
    they say of an e-mail is the word of that tenant's admin."""

    tenant: str = "7f1d0b6e-0000-4000-8000-000000000000"

    async def discovery(self, request: Request) -> JSONResponse:
        told = orjson.loads((await super().discovery(request)).body)
        told["issuer"] = f"{self.base}/{{tenantid}}/v2.0"
        told["token_endpoint_auth_methods_supported"] = ["client_secret_post", "private_key_jwt", "client_secret_basic"]
        return JSONResponse(told)

    async def token(self, request: Request) -> JSONResponse:
        self.lies = {"iss": f"{self.base}/{self.tenant}/v2.0", "tid": self.tenant, "ver": "2.0"} | self.lies
        return await super().token(request)


@dataclass
class GitHub(OpenIdProvider):
    """OAuth 2.0 and nothing of OpenID: who it was is asked of an API. Errors come with status 200."""

    account: Any = field(default_factory=lambda: {"id": 583231, "login": "octocat", "email": None})
    emails: Any = field(
        default_factory=lambda: [
            {"email": "spare@example.com", "primary": False, "verified": True, "visibility": None},
            {"email": "eva@example.com", "primary": True, "verified": True, "visibility": "private"},
        ]
    )

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/login/oauth/authorize", self.authorize),
                Route("/login/oauth/access_token", self.token, methods=["POST"]),
                Route("/api/v3/user", self.about_account),
                Route("/api/v3/user/emails", self.about_emails),
            ]
        )

    async def authorize(self, request: Request) -> RedirectResponse:
        query = dict(request.query_params)
        assert query["client_id"] == CLIENT_ID
        assert query["scope"].split() == ["read:user", "user:email"]
        assert "nonce" not in query
        return self.sent_back(secrets.token_hex(10), query)

    async def token(self, request: Request) -> JSONResponse:
        form = await read_form(request)
        assert "authorization" not in request.headers, "GitHub takes the secret in the body"
        if (form["client_id"], form["client_secret"]) != (CLIENT_ID, CLIENT_SECRET):
            return JSONResponse({"error": "incorrect_client_credentials", "error_description": "…"})
        if self.granted(form) is None:
            return JSONResponse({"error": "bad_verification_code", "error_description": "…"})
        # Without this header GitHub answers with a form.
        assert request.headers["accept"] == "application/json"
        return JSONResponse({"access_token": "gho_1", "scope": "read:user,user:email", "token_type": "bearer"})

    async def about_account(self, request: Request) -> JSONResponse:
        assert request.headers["authorization"] == "Bearer gho_1"
        return self.told(self.account)

    async def about_emails(self, request: Request) -> JSONResponse:
        assert request.headers["user-agent"], "GitHub's API wants one"
        return self.told(self.emails)

    @staticmethod
    def told(answer: Any) -> JSONResponse:
        if isinstance(answer, int):
            return JSONResponse({"message": "Resource not accessible by integration"}, answer)
        return JSONResponse(answer)


async def read_form(request: Request) -> dict[str, str]:
    """The body of a token request."""
    return {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}


class _Server(uvicorn.Server):
    capture_signals = contextlib.nullcontext  # type: ignore[assignment]


@contextlib.asynccontextmanager
async def openid_provider(kind: type[P] = OpenIdProvider) -> AsyncIterator[P]:  # type: ignore[assignment]
    """A provider on a port of its own."""
    port = free_port()
    provider = kind(f"http://127.0.0.1:{port}")
    config = uvicorn.Config(provider.app(), host="127.0.0.1", port=port, log_level="error", lifespan="off", ws="none")
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.01)
    try:
        yield provider
    finally:
        server.should_exit = True
        await task


def parameters(url: str) -> dict[str, str]:
    """The query of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
