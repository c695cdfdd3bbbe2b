"""The record side of the members of auth collections, for auth-service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from collections_service.catalog import Catalog, Snapshot
from collections_service.decoding import decode
from collections_service.models import CREATED, EMAIL, ID, REVISION, UPDATED, VERIFIED, Collection, new_revision
from collections_service.policy import not_found
from collections_service.records import overtaken, taken
from collections_service.relations import Relations
from collections_service.store import CollectionStore
from fastcms_common import times
from fastcms_common.errors import Conflict, FieldError, Invalid, NotFound
from fastcms_common.ids import is_uuid
from fastcms_common.storage import Change, Document, Duplicate, eq


class Profiles:
    """What auth-service may do to members' records. No rule of the collection is applied."""

    def __init__(self, store: CollectionStore, catalog: Catalog, relations: Relations) -> None:
        self._store = store
        self._catalog = catalog
        self._relations = relations

    async def realm(self, name_or_id: str) -> Collection:
        """The auth collection of a path. NotFound for an unknown one and for one of type base."""
        return (await self._find(name_or_id))[0]

    async def _find(self, name_or_id: str) -> tuple[Collection, Snapshot]:
        snapshot = await self._catalog.current()
        if snapshot.named(name_or_id) is None and snapshot.with_id(name_or_id) is None:
            # It may have been made a moment ago, elsewhere.
            await self._catalog.outdated(snapshot)
            snapshot = await self._catalog.current()
        collection = snapshot.find(name_or_id)
        if collection.type != "auth":
            raise NotFound("There is no such collection.", reason="COLLECTION_NOT_FOUND")
        await self._store.ensure_table(collection)
        return collection, snapshot

    async def create(
        self, realm: str, id: str, email: str, verified: bool, data: bytes, *, sees_hidden: bool
    ) -> dict[str, Any]:
        """The record of a new member, or the one that is there already. Invalid names bad fields by flat names."""

        async def call() -> dict[str, Any]:
            return await self._create(realm, id, email, verified, data, sees_hidden=sees_hidden)

        return await self._catalog.with_schema(call)

    async def _create(
        self, realm: str, id: str, email: str, verified: bool, data: bytes, *, sees_hidden: bool
    ) -> dict[str, Any]:
        collection, snapshot = await self._find(realm)
        existing = await self._store.get(collection, id)
        if existing is not None:
            return _flat(collection, existing)
        if not is_uuid(id):
            raise Invalid.field("id", "must be a UUID in lower case")
        given = decode(data) if data else {}
        if not isinstance(given, dict):
            raise Invalid.field("data", "must be an object")
        errors: list[FieldError] = []
        values = snapshot.validator(collection, sees_hidden=sees_hidden).values(given, "", errors)
        if not errors:
            errors = await self._relations.missing(snapshot, collection, values, "", sees_hidden=sees_hidden)
        if errors:
            raise Invalid(errors)
        moment = times.now_text()
        dates = {field.id: moment for field in collection.fields if field.type == "autodate" and field.on_create}
        stamps = {ID: id, CREATED: moment, UPDATED: moment, REVISION: new_revision()}
        doc = {**stamps, EMAIL.id: email, VERIFIED.id: verified, **values, **dates}
        try:
            await self._store.insert(collection, doc)
        except Duplicate as error:
            if error.index == ID:
                # The same call, a moment earlier.
                return await self.get(realm, id)
            raise taken(collection, error, "", sees_hidden=sees_hidden) from None
        # See `Records._check_again`.
        errors = await self._relations.missing(
            await self._catalog.current(), collection, values, "", sees_hidden=sees_hidden
        )
        if errors or not await self._catalog.still_fits(collection, doc):
            await self._store.delete(collection, id, eq(REVISION, doc[REVISION]))
            raise Invalid(errors) if errors else overtaken()
        return _flat(collection, doc)

    async def get(self, realm: str, id: str) -> dict[str, Any]:
        """A member's record. NotFound."""
        collection, _ = await self._find(realm)
        doc = await self._store.get(collection, id)
        if doc is None:
            raise not_found()
        return _flat(collection, doc)

    async def change(self, realm: str, id: str, email: str | None, verified: bool | None) -> dict[str, Any]:
        """Writes what only auth-service may change. NotFound."""
        collection, _ = await self._find(realm)
        values: dict[str, Any] = {UPDATED: times.now_text(), REVISION: new_revision()}
        if email is not None:
            values[EMAIL.id] = email
        if verified is not None:
            values[VERIFIED.id] = verified
        doc = await self._store.update(collection, id, Change(set=values))
        if doc is None:
            raise not_found()
        return _flat(collection, doc)

    async def delete(self, realm: str, id: str) -> None:
        """Deletes a member's record with what `on_delete` asks for. No record, or no collection, is a success. Conflict
        where something restricts it."""
        try:
            collection, snapshot = await self._find(realm)
        except NotFound:
            return
        await self._relations.plan(snapshot, collection, [id])
        gone = await self._store.delete(collection, id)
        try:
            release = await self._relations.plan(await self._catalog.current(), collection, [id])
        except Conflict:
            # See `Records._finish_delete`.
            if gone is not None:
                await self._store.insert(collection, gone)
            raise
        await self._relations.carry_out(release)

    async def named(self, realm: str, value: str) -> str | None:
        """The member with this value in the collection's `identity_field`."""
        collection, _ = await self._find(realm)
        field = collection.by_name.get((collection.options.get("auth") or {}).get("identity_field") or EMAIL.name)
        if field is None or field.system:
            return None
        found = await self._store.find(collection, eq(field.id, value), limit=1, fields=())
        return found[0][ID] if found else None

    async def existing(self, realm: str, ids: Sequence[str]) -> list[str]:
        """Which of these members have a record."""
        try:
            collection, _ = await self._find(realm)
        except NotFound:
            return []
        return [doc[ID] for doc in await self._store.get_many(collection, ids) if doc is not None]


def _flat(collection: Collection, doc: Document) -> dict[str, Any]:
    """The record as its owner sees it, in one object."""
    shown = {field.name: doc.get(field.id) for field in collection.shown_fields}
    return {ID: doc[ID], **shown, CREATED: doc[CREATED], UPDATED: doc[UPDATED]}
