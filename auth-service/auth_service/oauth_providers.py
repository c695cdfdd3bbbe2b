"""Identity providers, as admins set them up. Client secrets are sealed, and never shown again."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec

from auth_service.master_key import MasterKey
from auth_service.models import OAuthProvider
from auth_service.oauth_store import OAuthStore
from fastcms_common import times
from fastcms_common.audit import AuditLog
from fastcms_common.errors import Conflict, FieldError, Invalid, NotFound
from fastcms_common.ids import new_id

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


class Providers:
    """Keeping providers."""

    def __init__(self, store: OAuthStore, master_key: MasterKey, audit: AuditLog) -> None:
        self._store = store
        self._master_key = master_key
        self._audit = audit

    async def all(self) -> list[OAuthProvider]:
        """All of them, by name."""
        return await self._store.providers()

    async def get(self, provider_id: str) -> OAuthProvider:
        """NotFound."""
        provider = await self._store.provider(provider_id)
        if provider is None:
            raise _unknown()
        return provider

    async def named(self, name: str) -> OAuthProvider:
        """NotFound."""
        provider = await self._store.provider_by_name(name)
        if provider is None:
            raise _unknown()
        return provider

    async def enabled(self, name: str) -> OAuthProvider:
        """One that may be signed in with. NotFound."""
        provider = await self.named(name)
        if not provider.enabled:
            raise _unknown()
        return provider

    def secret_of(self, provider: OAuthProvider) -> str | None:
        """Its client secret."""
        if provider.client_secret is None:
            return None
        return self._master_key.unseal(provider.client_secret, owner(provider.id)).decode()

    async def create(self, provider: OAuthProvider, secret: str | None) -> OAuthProvider:
        """Keeps a new one. Invalid, Conflict (PROVIDER_EXISTS)."""
        _check(provider)
        if secret:
            sealed = self._master_key.seal(secret.encode(), owner(provider.id))
            provider = replaced(provider, client_secret=sealed)
        if not await self._store.add_provider(provider):
            raise Conflict("There is a provider of this name.", reason="PROVIDER_EXISTS")
        await self._note(provider, "oauth_provider_created", f"Set up the provider {provider.name}")
        return provider

    async def update(self, provider_id: str, wanted: dict[str, Any]) -> OAuthProvider:
        """Changes these fields. A secret of null takes it away."""
        before = await self.get(provider_id)
        nulls = [name for name, value in wanted.items() if value is None and name not in ("client_secret", "issuer")]
        if nulls:
            raise Invalid([FieldError(name, "Must not be null.") for name in nulls])
        changes = dict(wanted)
        if changes.get("client_secret"):
            changes["client_secret"] = self._master_key.seal(wanted["client_secret"].encode(), owner(provider_id))
        _check(replaced(before, **changes))
        after = await self._store.change_provider(provider_id, changes | {"updated": times.now_text()})
        if after is None:
            raise _unknown()
        await self._note(after, "oauth_provider_updated", f"Changed the provider {after.name}", sorted(wanted))
        return after

    async def delete(self, provider_id: str) -> None:
        """Removes it with all its links. NotFound."""
        provider = await self._store.delete_provider(provider_id)
        if provider is None:
            raise _unknown()
        await self._note(provider, "oauth_provider_deleted", f"Removed the provider {provider.name}")

    async def _note(
        self, provider: OAuthProvider, action: str, description: str, fields: list[str] | None = None
    ) -> None:
        await self._audit.record(
            "admin",
            action,
            severity="warning",
            resource_type="oauth_provider",
            resource_id=provider.id,
            description=description,
            details={"name": provider.name, "kind": provider.kind, "fields": fields or []},
        )


def new_provider(**fields: Any) -> OAuthProvider:
    """A provider that has not been kept yet."""
    now = times.now_text()
    return OAuthProvider(id=new_id(), created=now, updated=now, **fields)


def replaced(provider: OAuthProvider, **changes: Any) -> OAuthProvider:
    """The same with these fields."""
    return msgspec.structs.replace(provider, **changes)


def web_address(text: str) -> SplitResult | None:
    """The parts of an absolute http or https address; None where it is none."""
    try:
        parts = urlsplit(text)
        # Reading the port is what checks it.
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port >= 0)
    except ValueError:
        return None
    return parts if sound else None


def _check(provider: OAuthProvider) -> None:
    problems = []
    if not _NAME.fullmatch(provider.name):
        problems.append(FieldError("name", "Must be lower-case letters, digits and hyphens, and begin with a letter."))
    if provider.kind == "oidc" and not provider.issuer:
        problems.append(FieldError("issuer", "This field is required."))
    if provider.issuer:
        parts = web_address(provider.issuer)
        if parts is None or parts.query or parts.fragment:
            problems.append(FieldError("issuer", "Must be an http or https address without query and fragment."))
    if not provider.client_id:
        problems.append(FieldError("client_id", "This field is required."))
    if any(not re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]{1,255}", scope) for scope in provider.scopes):
        # RFC 6749, 3.3.
        problems.append(FieldError("scopes", "A scope is text without spaces and quotes."))
    if problems:
        raise Invalid(problems)


def owner(provider_id: str) -> str:
    """What its secret is sealed for."""
    return f"oauth-provider:{provider_id}"


def _unknown() -> NotFound:
    return NotFound("There is no such provider.", reason="PROVIDER_NOT_FOUND")
