"""Somebody before a browser who signs in by an identity provider, and the admin who has set the provider up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc.aio
import httpx

from fastcms.auth.v1 import auth_pb2, oauth_pb2
from fastcms_common import context
from fastcms_common.channels import metadata_of
from fastcms_common.context import RequestContext
from fastcms_common.wire import error_of_call
from tests.contract.auth.openid import CLIENT_ID, CLIENT_SECRET, OpenIdProvider, parameters
from tests.contract.auth.shop import Shop

BACK = "https://app.example.com/back"


@dataclass
class Desk:
    """A shop with a provider, and somebody before a browser. `name` is the provider that they choose."""

    shop: Shop
    provider: OpenIdProvider
    admin: str
    provider_id: str = ""
    cookie: str = ""
    name: str = "local"

    async def admin_call(self, rpc: str, **fields: Any) -> Any:
        request = getattr(oauth_pb2, f"{rpc}Request")(**fields)
        return await self.shop.server.call(getattr(self.shop.server.providers, rpc), request, self.admin)

    async def offer(self, name: str, kind: str, issuer: str) -> str:
        """Sets a provider up, which is chosen from now on; its id."""
        self.name = name
        made = await self.admin_call(
            "CreateOAuthProvider",
            name=name,
            display_name=name.title(),
            kind=kind,
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            issuer=issuer,
        )
        return str(made.id)

    async def begin(
        self, collection: str = "customers", redirect_url: str = BACK, bearer: str | None = None
    ) -> oauth_pb2.AuthorizeOAuthResponse:
        """Begins a sign-in; with a `bearer` a link to their account."""
        rpc = "AuthorizeOAuthLink" if bearer else "AuthorizeOAuth"
        kind = getattr(oauth_pb2, f"{rpc}Request")
        request = kind(collection=collection, provider=self.name, redirect_url=redirect_url, cookie=self.cookie)
        # The cookie comes as metadata, which plain stubs show on the call object only.
        call = self.shop.server.channel.raw.unary_unary(  # type: ignore[attr-defined]
            f"/fastcms.auth.v1.OAuthService/{rpc}",
            request_serializer=kind.SerializeToString,
            response_deserializer=oauth_pb2.AuthorizeOAuthResponse.FromString,
        )(request, metadata=metadata_of(RequestContext("r-1"), bearer))
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            raise error_of_call(error) from error
        headers = dict(list(await call.trailing_metadata()))
        assert "HttpOnly" in headers["set-cookie"]
        assert "SameSite=Lax" in headers["set-cookie"]
        self.cookie = headers["set-cookie"].partition(";")[0]
        return answer

    async def consent(self, url: str) -> dict[str, str]:
        """Follows the browser to the provider and back; what it comes back with."""
        async with httpx.AsyncClient(trust_env=False) as browser:
            answer = await browser.get(url)
        location = answer.headers["location"]
        assert location.startswith(BACK)
        return parameters(location)

    async def complete(self, back: dict[str, str], collection: str = "customers", **more: Any) -> auth_pb2.LoginAnswer:
        fields = {"cookie": self.cookie, **back, **more}
        request = oauth_pb2.CompleteOAuthRequest(collection=collection, provider=self.name, **fields)
        with context.bind(RequestContext("r-1", client_ip="10.0.0.9")):
            return await self.shop.server.oauth.CompleteOAuth(request)

    async def sign_in(self, **more: Any) -> auth_pb2.LoginAnswer:
        return await self.complete(await self.consent((await self.begin()).authorization_url), **more)

    async def link(self, bearer: str, back: dict[str, str] | None = None, **more: Any) -> oauth_pb2.OAuthLink:
        """Links whom the provider sends back, or who has come back already, with the account of the bearer."""
        if back is None:
            back = await self.consent((await self.begin(bearer=bearer)).authorization_url)
        fields = {"cookie": self.cookie, **back, **more}
        request = oauth_pb2.CreateOAuthLinkRequest(collection="customers", provider=self.name, **fields)
        return await self.shop.server.call(self.shop.server.oauth.CreateOAuthLink, request, bearer)

    async def links(self, bearer: str) -> list[tuple[str, str]]:
        """Provider and subject of each link."""
        request = oauth_pb2.ListOAuthLinksRequest(collection="customers")
        answer = await self.shop.server.call(self.shop.server.oauth.ListOAuthLinks, request, bearer)
        return [(one.provider, one.subject) for one in answer.links]

    async def unlink(self, bearer: str) -> None:
        request = oauth_pb2.DeleteOAuthLinkRequest(collection="customers", provider=self.name)
        await self.shop.server.call(self.shop.server.oauth.DeleteOAuthLink, request, bearer)
