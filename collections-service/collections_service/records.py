"""Records: created, read, listed, changed, deleted, each judged by the rules of its collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from collections_service.answers import Answer, Rendering, Shown, of_written, unseen
from collections_service.catalog import Catalog, Snapshot
from collections_service.events import CollectionEvents
from collections_service.journal import Journal, Undo, revision_of
from collections_service.models import CREATED, ID, REVISION, UPDATED, Collection, new_revision
from collections_service.patches import Step, incoming, step_of
from collections_service.policy import Session, not_found
from collections_service.preconditions import if_match, require
from collections_service.relations import Relations, Release
from collections_service.rules.combine import conjunction
from collections_service.store import CollectionStore
from collections_service.validation import NewRecord, Patch
from fastcms_common import times
from fastcms_common.access import refuse_impersonation
from fastcms_common.context import current
from fastcms_common.errors import Conflict, Denied, DomainError, FieldError, Invalid, NotFound
from fastcms_common.ids import new_id
from fastcms_common.storage import ALL, Document, Duplicate, Query, eq, matches

# How often a change is tried again that others keep getting ahead of.
_ATTEMPTS = 20


class Records:
    """What may be done to records."""

    def __init__(
        self,
        store: CollectionStore,
        catalog: Catalog,
        relations: Relations,
        events: CollectionEvents,
        journal: Journal,
    ) -> None:
        self._journal = journal
        self._store = store
        self._catalog = catalog
        self._relations = relations
        self._events = events

    async def open(self, name: str, method: str, query: Mapping[str, str]) -> tuple[Collection, Session]:
        """The collection of a path and the call about it. NotFound."""
        snapshot = await self._catalog.current()
        collection = snapshot.find(name)
        await self._store.ensure_table(collection)
        return collection, Session(self._store, snapshot, method, query, current().caller)

    # -- reading ----------------------------------------------------------------------------------------------------

    async def get(self, collection: Collection, session: Session, id: str, shown: Shown) -> Answer:
        """One record. NotFound where there is none, and where the caller may not view it."""
        rendering = Rendering(collection, session, shown)
        doc = await self._visible(collection, session, id)
        if doc is None:
            raise not_found()
        return await rendering.one(doc)

    async def _visible(self, collection: Collection, session: Session, id: str) -> Document | None:
        """The record, if the caller may view it: the rule is held against the very document that is answered."""
        doc = await self._store.get(collection, id) if _is_id(id) else None
        if doc is None or session.sees_all:
            return doc
        return doc if matches(await session.allowed(collection, "view", [doc]), doc) else None

    # -- creating ---------------------------------------------------------------------------------------------------

    async def create(self, collection: Collection, session: Session, body: bytes, shown: Shown) -> Answer:
        """A new record from a body. Invalid, Denied, Conflict."""
        rendering = Rendering(collection, session, shown)
        self.check_creatable(collection, session)
        new = session.validator(collection).new_record(body)
        doc = self.document(collection, new)
        await self.check_create(collection, session, new, doc)
        errors = await self._relations.missing(session.snapshot, collection, doc, sees_hidden=session.sees_all)
        if errors:
            raise Invalid(errors)
        try:
            await self._store.insert(collection, doc)
        except Duplicate as error:
            raise taken(collection, error, sees_hidden=session.sees_all) from None
        for stray in (await self.take_back_strays(collection, session, [doc])).values():
            raise stray
        return await of_written(rendering.one(doc), lambda: Answer(unseen(doc)))

    async def take_back_strays(
        self, collection: Collection, session: Session, docs: Sequence[Document]
    ) -> dict[str, DomainError]:
        """Deletes those of the records just inserted that point to what was deleted at the same moment, or that a
        schema of the same moment does not let in; why, by their ids. See `_check_again`."""
        strays: dict[str, DomainError] = {}
        missing = await self._relations.missing_of(
            await self._catalog.current(), collection, docs, ["data."] * len(docs), sees_hidden=session.sees_all
        )
        for doc, errors in zip(docs, missing, strict=True):
            if errors:
                strays[doc[ID]] = Invalid(errors)
            elif not await self._catalog.still_fits(collection, doc):
                strays[doc[ID]] = overtaken()
            else:
                continue
            await self._store.delete(collection, doc[ID], eq(REVISION, doc[REVISION]))
        return strays

    @staticmethod
    def check_creatable(collection: Collection, session: Session) -> None:
        """Refuses what needs no look at the record."""
        if collection.type == "auth":
            raise Denied(
                f"Members are added by /collections/{collection.name}/auth/register or by an admin.",
                reason="USE_AUTH_ROUTES",
            )
        if session.closed(collection, "create"):
            session.refuse()

    @staticmethod
    def document(collection: Collection, new: NewRecord) -> Document:
        """A record as it is stored."""
        moment = times.now_text()
        dates = {field.id: moment for field in collection.fields if field.type == "autodate" and field.on_create}
        stamps = {ID: new.id or new_id(), CREATED: moment, UPDATED: moment, REVISION: new_revision()}
        return {**stamps, **new.values, **dates}

    @staticmethod
    async def check_create(collection: Collection, session: Session, new: NewRecord, doc: Document) -> None:
        """Holds the create rule against the record as it would be."""
        session.request.data, session.request.given, session.request.before = new.values, new.given, None
        if not session.sees_all and not matches(await session.allowed(collection, "create", [doc]), doc):
            session.refuse()

    # -- changing ---------------------------------------------------------------------------------------------------

    async def change(
        self, collection: Collection, session: Session, id: str, body: bytes, header: str, shown: Shown
    ) -> Answer:
        """The record after the change. Invalid, NotFound, Denied, Stale, Conflict."""
        rendering = Rendering(collection, session, shown)
        patch = session.validator(collection).patch(body)
        doc = await self.apply(collection, session, id, patch, header)

        async def answer() -> Answer:
            (seen,) = await session.viewable(collection, [doc])
            # Who may change a record and not view it does not see it by changing it.
            return await rendering.one(doc) if seen else Answer(unseen(doc))

        return await of_written(answer(), lambda: Answer(unseen(doc)))

    async def apply(
        self,
        collection: Collection,
        session: Session,
        id: str,
        patch: Patch,
        header: str = "",
        *,
        prefix: str = "data.",
        undo: Undo | None = None,
    ) -> Document:
        """Makes a checked change, in one query that holds the rule, the precondition and the limits.

        With `undo` it is made of the record as that has it, and can be taken back by the revision that it gives.
        """
        request = session.request
        revision = new_revision() if undo is None else revision_of(undo.note, id)
        request.given = patch.given
        checked = False
        for _ in range(_ATTEMPTS):
            doc = await self._store.get(collection, id) if _is_id(id) else None
            if doc is None or (undo is not None and id not in undo.docs):
                raise not_found()
            if undo is not None and undo.docs[id][REVISION] != doc[REVISION]:
                await self._journal.changed_meanwhile(undo, doc)
            request.before, request.data = doc, incoming(patch, doc)
            rule, looked_up = await session.judged(collection, "update", [doc])
            if not matches(rule, doc):
                await self._refuse(collection, session, doc)
            require(header, doc)
            step = step_of(collection, patch, doc, times.now_text(), revision)
            if not checked:
                await self._check_relations(collection, session.snapshot, patch, prefix)
                checked = True
            depends = looked_up or undo is not None or self._asks_before(session, collection, patch)
            guard = eq(REVISION, doc[REVISION]) if depends else ALL
            where = conjunction([rule, if_match(header), step.where, guard])
            after = await self._written(collection, session, id, step, where, prefix)
            if after is not None:
                await self._check_again(collection, patch, doc, after, prefix)
                if undo is not None:
                    undo.made[id] = patch
                return after
        raise Conflict("Others keep changing this record at the same moment; try again.", reason="TOO_MUCH_CONTENTION")

    async def _written(
        self, collection: Collection, session: Session, id: str, step: Step, where: Query, prefix: str
    ) -> Document | None:
        try:
            return await self._store.update(collection, id, step.change, where)
        except Duplicate as error:
            raise taken(collection, error, prefix, sees_hidden=session.sees_all) from None
        except Invalid as error:
            # A step that raced with others out of 64 bits is found by storage alone.
            raise renamed(collection, error, prefix) from None

    @staticmethod
    def _asks_before(session: Session, collection: Collection, patch: Patch) -> bool:
        """Whether the rule was judged by what is stored besides the fields it names: `:changed`, or a stepped value."""
        texts = [text for rule in ("update", "manage") if (text := collection.rules.get(rule))]
        telling = "@request.data" if patch.steps else ":changed"
        return not session.sees_all and any(telling in text for text in texts)

    async def _check_again(
        self, collection: Collection, patch: Patch, before: Document, after: Document, prefix: str
    ) -> None:
        """Takes the change back where a record that it points to was deleted at the same moment, or where the schema
        was changed and does not let it in.

        Who deletes looks for relations after deleting, who writes one looks for its record after writing: one of the
        two sees the other. So it is with who changes a schema and looks at the records, and who writes one.
        """
        try:
            await self._check_relations(collection, await self._catalog.current(), patch, prefix)
            if not await self._catalog.still_fits(collection, after):
                raise overtaken()
        except DomainError:
            await self._journal.take_out(collection, patch, before)
            raise

    async def _check_relations(self, collection: Collection, snapshot: Snapshot, patch: Patch, prefix: str) -> None:
        values = {**patch.values, **{field.id: amount for field, sign, amount in patch.steps if sign == "+"}}
        errors = await self._relations.missing(snapshot, collection, values, prefix)
        if errors:
            raise Invalid(errors)

    async def _refuse(self, collection: Collection, session: Session, doc: Document) -> None:
        """NotFound where the caller may not even view the record, else what the rules say."""
        if not matches(await session.allowed(collection, "view", [doc]), doc):
            raise not_found()
        session.refuse()

    # -- deleting ---------------------------------------------------------------------------------------------------

    async def delete(self, collection: Collection, session: Session, id: str, header: str = "") -> None:
        """Deletes a record with what `on_delete` asks for. NotFound, Denied, Stale, Conflict."""
        for _ in range(_ATTEMPTS):
            doc = await self._store.get(collection, id) if _is_id(id) else None
            if doc is None:
                raise not_found()
            rule, looked_up = await session.judged(collection, "delete", [doc])
            if not matches(rule, doc):
                await self._refuse(collection, session, doc)
            require(header, doc)
            release = await self._plan(collection, session, [id])
            guard = eq(REVISION, doc[REVISION]) if looked_up else ALL
            where = conjunction([rule, if_match(header), guard])
            note = await self._journal.releasing(collection, [id], release)
            deleted = await self._store.delete(collection, id, where)
            if deleted is not None:
                await self._finish_delete(collection, session, [deleted], note)
                return
            await self._journal.done(note)
        raise Conflict("Others keep changing this record at the same moment; try again.", reason="TOO_MUCH_CONTENTION")

    async def delete_together(self, collection: Collection, session: Session, ids: Sequence[str]) -> None:
        """Deletes all of the records or none of them. The errors of `delete`, for the first that stands in the way."""
        found = [
            doc if _is_id(id) else None
            for id, doc in zip(ids, await self._store.get_many(collection, ids), strict=True)
        ]
        docs = []
        for index, doc in enumerate(found):
            if doc is None:
                raise NotFound(f"Item {index}: There is no such record.", reason="RECORD_NOT_FOUND")
            docs.append(doc)
        rule, _ = await session.judged(collection, "delete", docs)
        for doc in docs:
            if not matches(rule, doc):
                await self._refuse(collection, session, doc)
        release = await self._plan(collection, session, ids)
        undo = await self._journal.deleting(collection, docs)
        gone: list[Document] = []
        for doc in docs:
            # Each as it was judged.
            if await self._store.delete(collection, doc[ID], eq(REVISION, doc[REVISION])) is None:
                await self._journal.take_back_deletes(collection, gone, undo)
                raise Conflict("A record was changed by someone else at the same moment; try again.")
            gone.append(doc)
        note = await self._journal.releasing(collection, ids, release)
        await self._journal.done(undo)
        await self._finish_delete(collection, session, docs, note)

    async def _plan(self, collection: Collection, session: Session, ids: Sequence[str]) -> Release:
        """What deleting these records entails. Conflict; Denied where an impersonated person's own account would go."""
        release = await self._relations.plan(session.snapshot, collection, ids, named=session.sees_all)
        caller = session.caller
        if caller is not None:
            _, doomed = release.doomed.get(caller.realm, (collection, set[str]()))
            if caller.id in doomed or (caller.realm == collection.id and caller.id in ids):
                refuse_impersonation(caller)
        return release

    async def _finish_delete(
        self, collection: Collection, session: Session, gone: Sequence[Document], note: str | None
    ) -> None:
        """Does what deleting these records entails. Where somebody has pointed to one under `restrict` since the first
        look, they are put back and Conflict is raised; see `_check_again`."""
        try:
            # By the schemas of this moment: a relation may have been added since the first look.
            snapshot = await self._catalog.current()
            release = await self._relations.plan(
                snapshot, collection, [doc[ID] for doc in gone], named=session.sees_all
            )
        except Conflict:
            await self._store.insert_many(collection, gone)
            await self._journal.done(note)
            raise
        await self._relations.carry_out(release)
        for doc in gone:
            await self._events.record_deleted(collection, doc[ID])
        await self._journal.done(note)


def overtaken() -> Conflict:
    """What a write is refused with that a change of the schema came before."""
    return Conflict("The collection was changed at the same moment; try again.", reason="SCHEMA_CHANGED")


def _is_id(id: str) -> bool:
    """Whether this can be the id of a record at all: what cannot never reaches the database."""
    return 1 <= len(id) <= 64 and id.isascii() and "\0" not in id


def taken(collection: Collection, error: Duplicate, prefix: str = "data.", *, sees_hidden: bool = True) -> Conflict:
    """A unique value that another record has, in the words of the API. Hidden fields are named to admins only."""
    if error.index == "id":
        field = FieldError(f"{prefix.removesuffix('data.')}id", "is already taken")
        return Conflict("There is a record with this id already.", reason="RECORD_EXISTS", fields=[field])
    fields = {field.id: field for field in (*collection.system_fields, *collection.fields)}
    seen = [path for path in error.paths if sees_hidden or path not in fields or not fields[path].hidden]
    names = [fields[path].name if path in fields else path for path in seen]
    same = f"this {' and '.join(names)}" if len(seen) == len(error.paths) else "the same values"
    return Conflict(
        f"Another record has {same} already.",
        reason="NOT_UNIQUE",
        fields=[FieldError(f"{prefix}{name}", "is already taken") for name in names],
    )


def renamed(collection: Collection, error: Invalid, prefix: str = "data.") -> Invalid:
    """What storage found wrong, under the names of the API."""
    names = {field.id: field.name for field in (*collection.system_fields, *collection.fields)}
    fields = []
    for one in error.fields:
        key, dot, rest = one.field.partition(".")
        fields.append(FieldError(f"{prefix}{names[key]}{dot}{rest}" if key in names else one.field, one.message))
    return Invalid(fields, detail=error.detail, reason=error.reason)
