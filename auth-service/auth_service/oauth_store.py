"""Queries about identity providers and who is linked to them."""

from __future__ import annotations

from typing import Any

import msgspec

from auth_service.models import OAuthLink, OAuthProvider, to_document
from fastcms_common.storage import And, Change, Duplicate, Index, Store, Table, eq

PROVIDERS = Table("oauth_providers", (Index("name", unique=True, required=True, name="name"),))
LINKS = Table("oauth_links", (Index("identity_id"),), scalars=("provider_id",))


class OAuthStore:
    """Providers and links."""

    def __init__(self, store: Store) -> None:
        self._storage = store

    async def prepare(self) -> None:
        """Makes the tables and indexes that are missing."""
        for table in (PROVIDERS, LINKS):
            await self._storage.ensure(table)

    async def providers(self) -> list[OAuthProvider]:
        """All of them, by name."""
        found = await self._storage.find(PROVIDERS.name, sort=[("name", 1)])
        return [msgspec.convert(one, OAuthProvider) for one in found]

    async def provider(self, provider_id: str) -> OAuthProvider | None:
        """One of them."""
        document = await self._storage.get(PROVIDERS.name, provider_id)
        return None if document is None else msgspec.convert(document, OAuthProvider)

    async def provider_by_name(self, name: str) -> OAuthProvider | None:
        """One of them."""
        document = await self._storage.first(PROVIDERS.name, eq("name", name))
        return None if document is None else msgspec.convert(document, OAuthProvider)

    async def add_provider(self, provider: OAuthProvider) -> bool:
        """False where the name is taken."""
        try:
            await self._storage.insert(PROVIDERS.name, to_document(provider))
        except Duplicate:
            return False
        return True

    async def change_provider(self, provider_id: str, changes: dict[str, Any]) -> OAuthProvider | None:
        """The provider after the change; None where it is gone."""
        document = await self._storage.update(PROVIDERS.name, provider_id, Change(set=changes))
        return None if document is None else msgspec.convert(document, OAuthProvider)

    async def swap_secret(self, provider_id: str, before: str, after: str) -> bool:
        """Puts a secret that is sealed anew in the place of the one that was read; False where that has gone."""
        change = Change(set={"client_secret": after})
        return await self._storage.update(PROVIDERS.name, provider_id, change, eq("client_secret", before)) is not None

    async def delete_provider(self, provider_id: str) -> OAuthProvider | None:
        """What it was, with all its links gone; None where it was gone."""
        document = await self._storage.delete(PROVIDERS.name, provider_id)
        await self._storage.delete_many(LINKS.name, eq("provider_id", provider_id))
        return None if document is None else msgspec.convert(document, OAuthProvider)

    async def link(self, link_id: str) -> OAuthLink | None:
        """The link of somebody at a provider."""
        document = await self._storage.get(LINKS.name, link_id)
        return None if document is None else msgspec.convert(document, OAuthLink)

    async def links_of(self, identity_id: str, provider_id: str | None = None) -> list[OAuthLink]:
        """An identity's links, or that to one provider."""
        where = eq("identity_id", identity_id)
        both = where if provider_id is None else And(where, eq("provider_id", provider_id))
        return [msgspec.convert(one, OAuthLink) for one in await self._storage.find(LINKS.name, both)]

    async def add_link(self, link: OAuthLink) -> bool:
        """False where this somebody is linked already."""
        try:
            await self._storage.insert(LINKS.name, to_document(link))
        except Duplicate:
            return False
        return True

    async def delete_links_of(self, identity_id: str) -> None:
        """All of an identity's."""
        await self._storage.delete_many(LINKS.name, eq("identity_id", identity_id))

    async def delete_link(self, link_id: str) -> None:
        """Nothing happens where it is gone."""
        await self._storage.delete(LINKS.name, link_id)
