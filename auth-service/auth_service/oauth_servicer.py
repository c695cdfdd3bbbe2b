"""OAuthService and OAuthProvidersService: message in, message out."""

from __future__ import annotations

from typing import Any

from google.protobuf.empty_pb2 import Empty

from auth_service import messages
from auth_service.models import OAuthLink, OAuthProvider
from auth_service.oauth import COOKIE, STATE_SECONDS, OAuth
from auth_service.oauth_providers import Providers, new_provider
from auth_service.people import People
from auth_service.realms import Realms
from auth_service.servicer import login_answer
from fastcms.auth.v1 import auth_pb2, oauth_pb2, oauth_pb2_grpc


class OAuthServicer(oauth_pb2_grpc.OAuthServiceServicer):
    """Signing in by a provider. `secure` says whether the cookie is for https only."""

    def __init__(self, realms: Realms, people: People, oauth: OAuth, secure: bool) -> None:
        self._realms = realms
        self._people = people
        self._oauth = oauth
        self._secure = secure

    async def ListOAuthOptions(
        self, request: oauth_pb2.ListOAuthOptionsRequest, context: Any
    ) -> oauth_pb2.ListOAuthOptionsResponse:
        found = await self._oauth.options(await self._realms.resolve(request.collection))
        return oauth_pb2.ListOAuthOptionsResponse(
            providers=[
                oauth_pb2.OAuthOption(name=one.name, display_name=one.display_name, kind=one.kind) for one in found
            ]
        )

    async def AuthorizeOAuth(
        self, request: oauth_pb2.AuthorizeOAuthRequest, context: Any
    ) -> oauth_pb2.AuthorizeOAuthResponse:
        return await self._begin(request, context, "")

    async def AuthorizeOAuthLink(
        self, request: oauth_pb2.AuthorizeOAuthLinkRequest, context: Any
    ) -> oauth_pb2.AuthorizeOAuthResponse:
        return await self._begin(request, context, (await self._people.caller(request.collection)).id)

    async def _begin(
        self,
        request: oauth_pb2.AuthorizeOAuthRequest | oauth_pb2.AuthorizeOAuthLinkRequest,
        context: Any,
        identity_id: str,
    ) -> oauth_pb2.AuthorizeOAuthResponse:
        realm = await self._realms.resolve(request.collection)
        url, state, browser = await self._oauth.begin(
            realm, request.provider, request.redirect_url, request.cookie, identity_id
        )
        secure = "; Secure" if self._secure else ""
        cookie = f"{COOKIE}={browser}; Path=/api; Max-Age={STATE_SECONDS}; HttpOnly; SameSite=Lax{secure}"
        context.set_trailing_metadata((("set-cookie", cookie),))
        return oauth_pb2.AuthorizeOAuthResponse(authorization_url=url, state=state)

    async def CompleteOAuth(self, request: oauth_pb2.CompleteOAuthRequest, context: Any) -> auth_pb2.LoginAnswer:
        realm = await self._realms.resolve(request.collection)
        mfa_code = request.mfa_code if request.HasField("mfa_code") else None
        signed_in = await self._oauth.complete(
            realm, request.provider, request.code, request.state, request.cookie, mfa_code
        )
        return login_answer(signed_in)

    async def GetOAuthLink(self, request: oauth_pb2.GetOAuthLinkRequest, context: Any) -> oauth_pb2.OAuthLink:
        identity = await self._people.caller(request.collection)
        return _link(request.provider, await self._oauth.link(identity, request.provider))

    async def ListOAuthLinks(
        self, request: oauth_pb2.ListOAuthLinksRequest, context: Any
    ) -> oauth_pb2.ListOAuthLinksResponse:
        found = await self._oauth.links(await self._people.caller(request.collection))
        return oauth_pb2.ListOAuthLinksResponse(links=[_link(provider.name, link) for provider, link in found])

    async def CreateOAuthLink(self, request: oauth_pb2.CreateOAuthLinkRequest, context: Any) -> oauth_pb2.OAuthLink:
        identity = await self._people.caller(request.collection)
        realm = await self._realms.resolve(request.collection)
        link = await self._oauth.add_link(
            realm, identity, request.provider, request.code, request.state, request.cookie, request.password
        )
        return _link(request.provider, link)

    async def DeleteOAuthLink(self, request: oauth_pb2.DeleteOAuthLinkRequest, context: Any) -> Empty:
        await self._oauth.unlink(await self._people.caller(request.collection), request.provider)
        return Empty()


class OAuthProvidersServicer(oauth_pb2_grpc.OAuthProvidersServiceServicer):
    """The providers themselves."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers

    async def ListOAuthProviders(
        self, request: oauth_pb2.ListOAuthProvidersRequest, context: Any
    ) -> oauth_pb2.ListOAuthProvidersResponse:
        items = [_message(one) for one in await self._providers.all()]
        return oauth_pb2.ListOAuthProvidersResponse(items=items, total=len(items))

    async def CreateOAuthProvider(
        self, request: oauth_pb2.CreateOAuthProviderRequest, context: Any
    ) -> oauth_pb2.OAuthProvider:
        provider = new_provider(
            name=request.name,
            display_name=request.display_name or request.name,
            kind=request.kind,
            client_id=request.client_id,
            issuer=request.issuer or None,
            scopes=list(request.scopes),
            enabled=request.enabled if request.HasField("enabled") else True,
        )
        secret = request.client_secret if request.HasField("client_secret") else None
        return _message(await self._providers.create(provider, secret))

    async def GetOAuthProvider(
        self, request: oauth_pb2.GetOAuthProviderRequest, context: Any
    ) -> oauth_pb2.OAuthProvider:
        return _message(await self._providers.get(request.id))

    async def UpdateOAuthProvider(
        self, request: oauth_pb2.UpdateOAuthProviderRequest, context: Any
    ) -> oauth_pb2.OAuthProvider:
        wanted: dict[str, Any] = {}
        for name in request.update_mask.paths:
            if name == "scopes":
                wanted[name] = list(request.scopes)
            else:
                wanted[name] = getattr(request, name) if request.HasField(name) else None  # type: ignore[arg-type]
        return _message(await self._providers.update(request.id, wanted))

    async def DeleteOAuthProvider(self, request: oauth_pb2.DeleteOAuthProviderRequest, context: Any) -> Empty:
        await self._providers.delete(request.id)
        return Empty()


def _link(provider: str, link: OAuthLink) -> oauth_pb2.OAuthLink:
    return oauth_pb2.OAuthLink(
        provider=provider, subject=link.subject, email=link.email, created=messages.timestamp(link.created)
    )


def _message(provider: OAuthProvider) -> oauth_pb2.OAuthProvider:
    return oauth_pb2.OAuthProvider(
        id=provider.id,
        name=provider.name,
        display_name=provider.display_name,
        kind=provider.kind,
        client_id=provider.client_id,
        has_client_secret=provider.client_secret is not None,
        issuer=provider.issuer,
        scopes=provider.scopes,
        enabled=provider.enabled,
        created=messages.timestamp(provider.created),
        updated=messages.timestamp(provider.updated),
    )
