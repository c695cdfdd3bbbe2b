"""Signing in by OAuth2 and OpenID Connect: beginning, coming back, and who that is here.

A sign-in that has begun lies in Redis under its state, once: with PKCE verifier, nonce, and a hash of a cookie, so that
it can only be finished by the browser that began it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import secrets
from dataclasses import asdict
from http.cookies import CookieError, SimpleCookie
from typing import Any

import orjson
from redis.asyncio import Redis

from auth_service import addresses, second_factors
from auth_service.auth_settings import LiveSettings
from auth_service.credentials import Credentials
from auth_service.master_key import MasterKey
from auth_service.members import Members
from auth_service.models import Identity, OAuthLink, OAuthProvider
from auth_service.oauth_clients import Flow, OAuthClients, Stranger
from auth_service.oauth_providers import Providers, web_address
from auth_service.oauth_store import OAuthStore
from auth_service.realms import Realm
from auth_service.sessions import Sessions
from auth_service.sign_in import SignedIn, SignIn, may_sign_in, wrong_credentials
from auth_service.store import AuthStore
from fastcms_common import redis_keys, times
from fastcms_common.audit import AuditLog
from fastcms_common.errors import Conflict, Denied, Invalid, NotFound
from fastcms_common.redis_connection import redis_errors

COOKIE = "fastcms_oauth"
_OURS = re.compile(r"[A-Za-z0-9_-]{43}")
# Seconds.
STATE_SECONDS = 600
_PROOF_SECONDS = 300
# How often, and after how many seconds, a first sign-in looks again whether another one has made the account.
_ROUNDS = 20
_WAIT = 0.1


class OAuth:
    """The flow, and the links that it makes."""

    def __init__(
        self,
        redis: Redis,
        store: AuthStore,
        links: OAuthStore,
        providers: Providers,
        clients: OAuthClients,
        members: Members,
        sessions: Sessions,
        sign_in: SignIn,
        credentials: Credentials,
        settings: LiveSettings,
        master_key: MasterKey,
        audit: AuditLog,
    ) -> None:
        self._redis = redis
        self._store = store
        self._links = links
        self._providers = providers
        self._clients = clients
        self._members = members
        self._sessions = sessions
        self._sign_in = sign_in
        self._credentials = credentials
        self._settings = settings
        self._master_key = master_key
        self._audit = audit

    async def options(self, realm: Realm) -> list[OAuthProvider]:
        """The providers that members of the realm may sign in with. Denied (OAUTH_DISABLED)."""
        self._check_on(realm)
        return [one for one in await self._providers.all() if one.enabled]

    async def begin(
        self, realm: Realm, name: str, redirect_url: str, cookie: str, identity_id: str = ""
    ) -> tuple[str, str, str]:
        """Where to send the browser, the state, and the value of the cookie that it has to keep. `identity_id` is of
        somebody who is signed in and wants a link."""
        self._check_on(realm)
        provider = await self._providers.enabled(name)
        parts = web_address(redirect_url)
        if parts is None or parts.fragment:
            raise Invalid.field("redirect_url", "Must be an absolute http or https address without a fragment.")
        state, browser = secrets.token_urlsafe(32), _browser(cookie) or secrets.token_urlsafe(32)
        flow = Flow(secrets.token_urlsafe(32), secrets.token_urlsafe(64), redirect_url)
        url = await self._clients.authorization_url(provider, flow, state)
        kept = _expected(realm, provider, _hash(browser), identity_id) | {"flow": asdict(flow)}
        await self._keep(redis_keys.oauth_state(_hash(state)), kept, STATE_SECONDS)
        return url, state, browser

    async def complete(
        self, realm: Realm, name: str, code: str, state: str, cookie: str, mfa_code: str | None
    ) -> SignedIn:
        """Signs in whoever has come back. Invalid (OAUTH_STATE_INVALID), Unauthenticated (OAUTH_REFUSED,
        MFA_REQUIRED), Denied (EMAIL_NOT_VERIFIED, EMAIL_REQUIRED)."""
        self._check_on(realm)
        provider = await self._providers.enabled(name)
        browser = _browser_hash(cookie)
        proof_key = redis_keys.oauth_proof(_hash(f"{state} {code} {realm.id} {provider.id} {browser}"))
        proven = await self._kept(proof_key, use=False)
        if proven is not None:
            identity = await self._store.identity(proven["identity"])
        else:
            identity = await self._arrival(realm, provider, code, state, browser)
        if identity is None or not may_sign_in(identity):
            raise wrong_credentials("This account cannot sign in.")
        if identity.mfa_enabled and proven is None:
            # The code is spent by now: what it has proven is kept for the call that brings the second factor.
            await self._keep(proof_key, {"identity": identity.id}, _PROOF_SECONDS)
        if identity.mfa_enabled and not mfa_code:
            raise second_factors.required()
        signed_in = await self._sign_in.with_proof(identity, provider.name, mfa_code)
        with redis_errors():
            await self._redis.delete(proof_key)
        return signed_in

    async def link(self, identity: Identity, name: str) -> OAuthLink:
        """The person's link to a provider. NotFound."""
        provider = await self._providers.named(name)
        found = await self._links.links_of(identity.id, provider.id)
        if not found:
            raise NotFound("There is no link to this provider.", reason="OAUTH_LINK_NOT_FOUND")
        return found[0]

    async def links(self, identity: Identity) -> list[tuple[OAuthProvider, OAuthLink]]:
        """All of the person's links, by the name of the provider."""
        found = await self._links.links_of(identity.id)
        return [(one, link) for one in await self._providers.all() for link in found if link.provider_id == one.id]

    async def unlink(self, identity: Identity, name: str) -> None:
        """Takes the link away. Conflict (LAST_SIGN_IN_METHOD) where the person could not sign in any more."""
        gone = (await self.link(identity, name)).provider_id
        links = await self._links.links_of(identity.id)
        if identity.password_hash is None and all(one.provider_id == gone for one in links):
            raise Conflict("Set a password first: this is the only way to sign in.", reason="LAST_SIGN_IN_METHOD")
        for link in links:
            if link.provider_id == gone:
                await self._links.delete_link(link.id)
        await self._note(identity, "oauth_unlinked", f"Unlinked {name}")

    async def add_link(
        self, realm: Realm, identity: Identity, name: str, code: str, state: str, cookie: str, password: str
    ) -> OAuthLink:
        """Links whoever has come back with an account whose holder has shown its password, where it has one.

        Invalid (OAUTH_STATE_INVALID, INVALID_CREDENTIALS), Unauthenticated (OAUTH_REFUSED), Denied (ACCOUNT_LOCKED),
        Conflict (OAUTH_LINKED: to somebody else, OAUTH_LINK_EXISTS: the person's to another account there).
        """
        self._check_on(realm)
        provider = await self._providers.enabled(name)
        if identity.password_hash is not None:
            if not password:
                raise Invalid.field("password", "This field is required.")
            await self._sign_in.confirm(identity, password, "password")
        stranger = await self._stranger(
            provider, code, state, _expected(realm, provider, _browser_hash(cookie), identity.id)
        )
        link, holder = await self._linked(realm, provider, stranger)
        if link is not None and holder is not None:
            if holder.id != identity.id:
                raise Conflict("This account there is linked to somebody else here.", reason="OAUTH_LINKED")
            return link
        if await self._links.links_of(identity.id, provider.id):
            raise Conflict("Unlink the other account at this provider first.", reason="OAUTH_LINK_EXISTS")
        return await self._link(realm, identity, provider, stranger)

    async def _arrival(
        self, realm: Realm, provider: OAuthProvider, code: str, state: str, browser: str
    ) -> Identity | None:
        stranger = await self._stranger(provider, code, state, _expected(realm, provider, browser))
        for _ in range(_ROUNDS):
            with contextlib.suppress(Conflict):
                return await self._identity(realm, provider, stranger)
            # Two first sign-ins of one person at once: the other one is making the account.
            await asyncio.sleep(_WAIT)
        return await self._identity(realm, provider, stranger)

    async def _stranger(self, provider: OAuthProvider, code: str, state: str, expected: dict[str, str]) -> Stranger:
        begun = await self._kept(redis_keys.oauth_state(_hash(state)), use=True)
        if begun is None or any(begun.get(key) != value for key, value in expected.items()):
            raise Invalid.field(
                "state", "Is unknown, used, expired, or another browser's.", reason="OAUTH_STATE_INVALID"
            )
        return await self._clients.exchange(provider, self._providers.secret_of(provider), Flow(**begun["flow"]), code)

    async def _identity(self, realm: Realm, provider: OAuthProvider, stranger: Stranger) -> Identity:
        _, known = await self._linked(realm, provider, stranger)
        if known is not None:
            return known
        identity = await self._by_email(realm, stranger)
        await self._link(realm, identity, provider, stranger)
        return identity

    async def _linked(
        self, realm: Realm, provider: OAuthProvider, stranger: Stranger
    ) -> tuple[OAuthLink | None, Identity | None]:
        """The stranger's link and whose it is; a link that is nobody's any more is taken away."""
        link = await self._links.link(_link_id(realm, provider, stranger))
        holder = await self._store.identity(link.identity_id) if link is not None else None
        if link is not None and holder is None:
            await self._links.delete_link(link.id)
        return link, holder

    async def _link(self, realm: Realm, identity: Identity, provider: OAuthProvider, stranger: Stranger) -> OAuthLink:
        added = OAuthLink(
            id=_link_id(realm, provider, stranger),
            identity_id=identity.id,
            provider_id=provider.id,
            subject=stranger.subject,
            email=stranger.email,
            created=times.now_text(),
        )
        if not await self._links.add_link(added):
            raise Conflict("This sign-in was linked meanwhile.", reason="OAUTH_LINKED")
        await self._note(identity, "oauth_linked", f"Linked {provider.name}")
        return added

    async def _by_email(self, realm: Realm, stranger: Stranger) -> Identity:
        if stranger.email is None:
            raise Denied("The provider does not tell an e-mail address.", reason="EMAIL_REQUIRED")
        holder = await self._store.identity_by_email(realm.id, addresses.key(stranger.email))
        if holder is None or holder.state != "active":
            return await self._members.create(realm, stranger.email, None, b"{}", verified=stranger.email_verified)
        if not stranger.email_verified:
            raise Denied("The provider has not verified this e-mail address.", reason="EMAIL_NOT_VERIFIED")
        return holder if holder.verified else await self._claim(holder)

    async def _claim(self, holder: Identity) -> Identity:
        # Somebody registered with this address and never showed it to be theirs. Its owner is here now: whatever the
        # other one could come back with is void.
        changes: dict[str, Any] = {
            "verified": True,
            "password_hash": None,
            "password_history": [],
            "second_factor": None,
            "mail_tokens": {},
            "profile_stale": True,
        }
        claimed = await self._store.change_credentials(holder.id, changes, epoch=holder.epoch)
        if claimed is None:
            raise Conflict("The account was changed meanwhile.", reason="ACCOUNT_CHANGED")
        await self._links.delete_links_of(holder.id)
        await self._sessions.end_all(holder.id)
        await self._credentials.give_profile(claimed)
        return claimed

    def _check_on(self, realm: Realm) -> None:
        if realm.built_in or not realm.settings(self._settings.current).oauth_enabled:
            raise Denied("Signing in by a provider is switched off here.", reason="OAUTH_DISABLED")

    async def _keep(self, key: str, value: dict[str, Any], seconds: int) -> None:
        with redis_errors():
            await self._redis.set(key, self._master_key.seal(orjson.dumps(value), key), ex=seconds)

    async def _kept(self, key: str, *, use: bool) -> dict[str, Any] | None:
        with redis_errors():
            sealed: Any = await (self._redis.getdel(key) if use else self._redis.get(key))
        if sealed is None:
            return None
        value: dict[str, Any] = orjson.loads(self._master_key.unseal(sealed.decode(), key))
        return value

    async def _note(self, identity: Identity, action: str, description: str) -> None:
        await self._audit.record(
            "user",
            action,
            user_id=identity.id,
            user_email=identity.email,
            resource_type="user",
            resource_id=identity.id,
            description=description,
        )


def _expected(realm: Realm, provider: OAuthProvider, browser: str, identity_id: str = "") -> dict[str, str]:
    """What a sign-in is bound to, from its beginning to its end."""
    return {"realm": realm.id, "provider": provider.id, "browser": browser, "identity": identity_id}


def _link_id(realm: Realm, provider: OAuthProvider, stranger: Stranger) -> str:
    return _hash(f"{realm.id} {provider.id} {stranger.subject}")


def _browser_hash(cookie: str) -> str:
    return _hash(_browser(cookie))


def _browser(cookie: str) -> str:
    """The value that we have set, from a Cookie header; empty where there is none, or one that cannot be ours: it goes
    back into a header."""
    try:
        found = SimpleCookie(cookie).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None and _OURS.fullmatch(found.value) else ""


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
