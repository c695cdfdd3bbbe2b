"""Talking to identity providers: OAuth 2.0 with PKCE (RFC 6749, 7636), OpenID Connect Core and Discovery.

An issuer is what an admin has set up, and may be a private address: self-hosted ones are. Whatever goes wrong at the
provider's is either its being away or its refusing, never an error of ours.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import httpx
import joserfc.errors
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.jwk import KeySet

from auth_service.models import OAuthProvider
from auth_service.oauth_providers import web_address
from fastcms_common.errors import Unauthenticated, Unavailable
from fastcms_common.logs import get_logger

# Seconds: for one answer, and for which documents of a provider are believed.
TIMEOUT = 10.0
_FRESH = 600.0
_MAX_ANSWER = 1024 * 1024
_LEEWAY = 60
# What an ID token may be signed with: keys of the provider's only, never a shared secret, never nothing.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
ISSUERS = {"google": "https://accounts.google.com", "microsoft": "https://login.microsoftonline.com/common/v2.0"}
GITHUB = "https://github.com"
SCOPES = {"github": ["read:user", "user:email"]}
_OIDC_SCOPES = ["openid", "email", "profile"]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Stranger:
    """Who has come back from a provider. `email_verified` is the provider's word for it."""

    subject: str
    email: str | None
    email_verified: bool


@dataclass(frozen=True, slots=True)
class Flow:
    """A sign-in that has begun."""

    nonce: str
    verifier: str
    redirect_url: str


class OAuthClients:
    """The client side of all providers."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._documents: dict[str, tuple[float, dict[str, Any]]] = {}

    async def authorization_url(self, provider: OAuthProvider, flow: Flow, state: str) -> str:
        """Where the browser begins. Unavailable (PROVIDER_UNAVAILABLE) where the provider does not say."""
        endpoints = await self._endpoints(provider)
        extra = {} if provider.kind == "github" else {"nonce": flow.nonce}
        url: str = prepare_grant_uri(
            endpoints["authorization_endpoint"],
            provider.client_id,
            "code",
            redirect_uri=flow.redirect_url,
            scope=provider.scopes or SCOPES.get(provider.kind, _OIDC_SCOPES),
            state=state,
            code_challenge=create_s256_code_challenge(flow.verifier),
            code_challenge_method="S256",
            **extra,
        )
        return url

    async def exchange(self, provider: OAuthProvider, secret: str | None, flow: Flow, code: str) -> Stranger:
        """Who the code stands for. Unauthenticated (OAUTH_REFUSED), Unavailable (PROVIDER_UNAVAILABLE)."""
        endpoints = await self._endpoints(provider)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": flow.redirect_url,
            "code_verifier": flow.verifier,
            "client_id": provider.client_id,
        }
        methods = endpoints.get("token_endpoint_auth_methods_supported")
        if not isinstance(methods, list):
            methods = ["client_secret_basic"]
        auth = None
        if secret is not None and "client_secret_basic" in methods:
            # RFC 6749, 2.3.1: both are form-encoded first.
            auth = httpx.BasicAuth(quote_plus(provider.client_id), quote_plus(secret))
        elif secret is not None:
            form["client_secret"] = secret
        headers = {"Accept": "application/json"}
        answer = await self._json("POST", endpoints["token_endpoint"], auth, data=form, headers=headers)
        if provider.kind == "github":
            return await self._github_user(endpoints, _text(answer, "access_token"))
        claims = await self._id_token(provider, endpoints, flow, answer)
        return await self._with_email(provider, endpoints, answer, claims)

    async def _endpoints(self, provider: OAuthProvider) -> dict[str, Any]:
        if provider.kind == "github":
            base = (provider.issuer or GITHUB).rstrip("/")
            api = "https://api.github.com" if base == GITHUB else f"{base}/api/v3"
            return {
                "authorization_endpoint": f"{base}/login/oauth/authorize",
                "token_endpoint": f"{base}/login/oauth/access_token",
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
                "api": api,
            }
        issuer = (provider.issuer or ISSUERS.get(provider.kind, "")).rstrip("/")
        found = await self._document(f"{issuer}/.well-known/openid-configuration")
        if str(found.get("issuer", "")).rstrip("/") != issuer and provider.kind != "microsoft":
            raise _unavailable("the issuer calls itself otherwise")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if web_address(_text(found, name)) is None:
                raise _unavailable(f"its {name} is no address")
        return found

    async def _id_token(
        self, provider: OAuthProvider, endpoints: Mapping[str, Any], flow: Flow, answer: Mapping[str, Any]
    ) -> dict[str, Any]:
        token = _text(answer, "id_token")
        try:
            decoded = await self._decode(token, endpoints["jwks_uri"])
            issuer = str(endpoints["issuer"])
            if provider.kind == "microsoft":
                # One issuer for each tenant: https://learn.microsoft.com/entra/identity-platform/access-tokens
                issuer = issuer.replace("{tenantid}", str(decoded.claims.get("tid", "")))
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                options={
                    "iss": {"essential": True, "value": issuer},
                    "aud": {"essential": True, "value": provider.client_id},
                },
                params={
                    "nonce": flow.nonce,
                    "client_id": provider.client_id,
                    "access_token": answer.get("access_token"),
                },
            )
            claims.validate(leeway=_LEEWAY)
        except (joserfc.errors.JoseError, ValueError, KeyError, TypeError) as error:
            log.warning("ID token refused", provider=provider.name, error=type(error).__name__)
            raise refused() from None
        if claims.get("nonce") != flow.nonce or not isinstance(claims.get("sub"), str):
            raise refused()
        return dict(claims)

    async def _decode(self, token: str, jwks_uri: str) -> jwt.Token:
        try:
            return jwt.decode(token, KeySet.import_key_set(await self._document(jwks_uri)), algorithms=_ALGORITHMS)  # type: ignore[arg-type]
        except (joserfc.errors.JoseError, ValueError):
            # The provider may have rotated its keys since.
            self._documents.pop(jwks_uri, None)
            return jwt.decode(token, KeySet.import_key_set(await self._document(jwks_uri)), algorithms=_ALGORITHMS)  # type: ignore[arg-type]

    async def _with_email(
        self,
        provider: OAuthProvider,
        endpoints: Mapping[str, Any],
        answer: Mapping[str, Any],
        claims: dict[str, Any],
    ) -> Stranger:
        if not claims.get("email") and "userinfo_endpoint" in endpoints and answer.get("access_token"):
            told = await self._get(_text(endpoints, "userinfo_endpoint"), _text(answer, "access_token"))
            # OpenID Connect Core, 5.3.2: it may be about somebody else.
            if isinstance(told, dict) and told.get("sub") == claims["sub"]:
                claims = claims | {name: told[name] for name in ("email", "email_verified") if name in told}
        email = claims.get("email")
        # At Microsoft any tenant's admin writes what stands in `email`; another claim says if the domain is theirs:
        # https://learn.microsoft.com/entra/identity-platform/optional-claims-reference
        vouches = "xms_edov" if provider.kind == "microsoft" else "email_verified"
        verified = claims.get(vouches) in (True, "true", "1")
        return Stranger(claims["sub"], email if isinstance(email, str) and email else None, verified)

    async def _github_user(self, endpoints: Mapping[str, Any], access_token: str) -> Stranger:
        user = await self._get(f"{endpoints['api']}/user", access_token)
        emails = await self._get(f"{endpoints['api']}/user/emails", access_token)
        if not isinstance(user, dict) or not isinstance(user.get("id"), int) or not isinstance(emails, list):
            raise refused()
        primary = next((one for one in emails if isinstance(one, dict) and one.get("primary")), {})
        email = primary.get("email")
        return Stranger(str(user["id"]), email if isinstance(email, str) else None, primary.get("verified") is True)

    async def _get(self, url: str, access_token: str) -> Any:
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
        return await self._json("GET", url, headers=headers)

    async def _document(self, url: str) -> dict[str, Any]:
        until, known = self._documents.get(url, (0.0, {}))
        if until > time.monotonic():
            return known
        try:
            found = await self._json("GET", url)
        except Unauthenticated:
            raise _unavailable("it does not tell of itself") from None
        if not isinstance(found, dict):
            raise _unavailable("it does not tell of itself")
        self._documents[url] = (time.monotonic() + _FRESH, found)
        return found

    async def _json(self, method: str, url: str, auth: httpx.Auth | None = None, **more: Any) -> Any:
        try:
            answer = await self._http.send(self._http.build_request(method, url, **more), auth=auth)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            # ValueError: what a provider tells is no address, or does not fit into a header.
            raise _unavailable(type(error).__name__) from error
        if answer.status_code >= 500 or len(answer.content) > _MAX_ANSWER:
            raise _unavailable(f"status {answer.status_code}")
        try:
            body = answer.json()
        except ValueError:
            raise refused() from None
        # GitHub tells of errors with status 200.
        if answer.status_code >= 300 or (isinstance(body, dict) and "error" in body):
            raise refused()
        return body


def refused() -> Unauthenticated:
    """The answer where a provider does not vouch for whoever came back."""
    return Unauthenticated("The provider did not accept this sign-in.", reason="OAUTH_REFUSED")


def _unavailable(why: str) -> Unavailable:
    log.warning("identity provider", problem=why)
    return Unavailable("The identity provider cannot be reached.", reason="PROVIDER_UNAVAILABLE", retry_after=5)


def _text(document: Any, name: str) -> str:
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, str) or not value:
        raise refused()
    return value
