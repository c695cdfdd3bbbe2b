"""What a caller may do: the rules of a collection as queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from collections_service.catalog import Snapshot
from collections_service.models import Collection, RuleName
from collections_service.rules.combine import disjunction
from collections_service.rules.compile import Compiler, Docs
from collections_service.rules.request import Request
from collections_service.store import CollectionStore
from collections_service.validation import Validator
from fastcms_common.context import Caller
from fastcms_common.errors import Denied, NotFound, Unauthenticated
from fastcms_common.storage import ALL, NONE, Document, Query, matches


def sees_all(caller: Caller | None) -> bool:
    """Admins and services of the suite: no rule holds for them, no field is hidden from them."""
    return caller is not None and (caller.is_admin or caller.is_service)


class Session:
    """One call: who makes it, under which schemas, and what its expressions may look up."""

    def __init__(
        self, store: CollectionStore, snapshot: Snapshot, method: str, query: Mapping[str, str], caller: Caller | None
    ) -> None:
        self.store = store
        self.snapshot = snapshot
        self.caller = caller
        self.sees_all = sees_all(caller)
        self.request = Request(method, self, snapshot.with_id, caller, query=query)

    def again(self) -> Session:
        """The same call for another of the records that it is about."""
        return Session(self.store, self.snapshot, self.request.method, self.request.query, self.caller)

    def validator(self, collection: Collection) -> Validator:
        """What holds the bodies that this caller sends to the schema."""
        return self.snapshot.validator(collection, sees_hidden=self.sees_all)

    # -- what expressions look up (rules.request.Related) -----------------------------------------------------------

    async def ids(self, collection: Collection, where: Query) -> list[str]:
        return [] if where == NONE else await self.store.ids(collection, where)

    async def rows(self, collection: Collection, where: Query) -> list[Document]:
        return [] if where == NONE else await self.store.rows(collection, where)

    async def get_many(self, collection: Collection, ids: Sequence[str]) -> list[Document | None]:
        return await self.store.get_many(collection, ids)

    async def exists(self, collection: Collection, where: Query) -> bool:
        return where != NONE and await self.store.count(collection, where, limit=1) > 0

    async def visible(self, collection: Collection, request: Request, docs: Docs) -> Query:
        """The records of a collection that the caller may view."""
        return await self.allowed(collection, "view", docs)

    # -- what the caller may do --------------------------------------------------------------------------------------

    async def allowed(self, collection: Collection, rule: RuleName, docs: Docs = None) -> Query:
        """The records to which the rule lets the caller: those of the rule itself and those of `manage_rule`."""
        query, _ = await self.judged(collection, rule, docs)
        return query

    async def judged(self, collection: Collection, rule: RuleName, docs: Docs = None) -> tuple[Query, bool]:
        """The same, and whether it rests on more than the record itself, so that it holds for `docs` only as read."""
        if self.sees_all:
            return ALL, False
        compiler = Compiler(self.request)
        parts = [await self._rule(compiler, collection, name, docs) for name in dict.fromkeys((rule, "manage"))]
        return disjunction(parts), compiler.looked_up

    async def _rule(self, compiler: Compiler, collection: Collection, rule: Any, docs: Docs) -> Query:
        text = collection.rules.get(rule)
        if text is None:
            return NONE
        if text == "":
            return ALL
        bound = self.snapshot.rule(collection, rule)
        return NONE if bound is None else await compiler.query(bound, docs)

    async def viewable(self, collection: Collection, docs: Sequence[Document]) -> list[bool]:
        """Which of the documents the caller may view."""
        view = await self.allowed(collection, "view", docs)
        return [matches(view, doc) for doc in docs]

    def closed(self, collection: Collection, rule: RuleName) -> bool:
        """Whether the rule is for admins only and the caller is none."""
        return not self.sees_all and collection.rules.get(rule) is None and collection.rules.get("manage") is None

    def refuse(self) -> NoReturn:
        """Raises what a caller is told who may not do this."""
        if self.caller is None:
            raise Unauthenticated("Sign in to do this.")
        raise Denied("The rules of this collection do not allow this.", reason="RULE_DENIED")


def not_found() -> NotFound:
    """There is no such record, or none that the caller may see: the same answer."""
    return NotFound("There is no such record.", reason="RECORD_NOT_FOUND")
