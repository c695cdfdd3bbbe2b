"""`explain`: a rule taken apart, what it became, what serves it, and who gets what by it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from collections_service.catalog import Catalog, Snapshot
from collections_service.described import described, index_for, index_of, parsed, unindexed
from collections_service.lists import Lists
from collections_service.models import Collection, RuleName
from collections_service.policy import Session
from collections_service.rules import tree
from collections_service.rules.combine import conjunction
from collections_service.rules.compile import Compiler
from collections_service.rules.errors import ExpressionError, invalid
from collections_service.rules.parser import parse
from collections_service.rules.types import Scope, check
from collections_service.store import CollectionStore
from fastcms_common.context import Caller
from fastcms_common.errors import NotFound
from fastcms_common.storage import ALL, NONE, Document, Query, matches


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `expression` None: the saved rule; `as_user` None: somebody who is not signed in."""

    rule: RuleName = "list"
    expression: str | None = None
    filter: str = ""
    as_user: str | None = None
    record: str | None = None


class Explanations:
    """Answers questions about rules."""

    def __init__(self, store: CollectionStore, catalog: Catalog, lists: Lists) -> None:
        self._store = store
        self._catalog = catalog
        self._lists = lists

    async def explain(self, name: str, question: Question) -> dict[str, Any]:
        """NotFound for an unknown collection or record, Invalid for an expression that cannot be."""
        snapshot = await self._catalog.current()
        collection = snapshot.find(name)
        await self._store.ensure_table(collection)
        session = Session(self._store, snapshot, "GET", {}, await self._person(snapshot, question.as_user))
        saved = collection.rules[question.rule]
        text = saved if question.expression is None else question.expression.strip()
        expression = self._parse(collection, snapshot, question.rule, text) if text else None
        rule = await self._compiled(collection, session, question.rule, expression, text)
        filter = await self._lists.filter(collection, session, question.filter)
        query = conjunction([rule, filter])
        plan = await self._store.explain(collection, query)
        index = index_for(query, collection) if plan is None else index_of(plan, collection)
        return {
            "collection": collection.name,
            "rule": question.rule,
            "expression": tree.to_text(expression) if expression is not None else text,
            "parsed": parsed(expression) if expression is not None else None,
            "compiled": described(query, collection),
            "index": index,
            "index_source": "inferred" if plan is None else "database",
            "plan": [] if plan is None else list(plan.lines),
            "missing_index": [] if index is not None else unindexed(query, collection),
            "verdict": await self._verdict(collection, session, question, expression, text),
        }

    @staticmethod
    def _parse(collection: Collection, snapshot: Snapshot, rule: RuleName, text: str) -> tree.Expression:
        try:
            expression = parse(text)
            check(expression, Scope(collection, snapshot, rule))
        except ExpressionError as error:
            raise invalid("expression", text, error, "RULE_INVALID") from None
        return expression

    async def _compiled(
        self,
        collection: Collection,
        session: Session,
        rule: RuleName,
        expression: tree.Expression | None,
        text: str | None,
        docs: list[Document] | None = None,
    ) -> Query:
        if expression is None:
            return NONE if text is None else ALL
        bound = check(expression, Scope(collection, session.snapshot, rule))
        return await Compiler(session.request).query(bound, docs)

    async def _person(self, snapshot: Snapshot, id: str | None) -> Caller | None:
        """The member of an auth collection with this id, else the built-in user of this id, taken for no admin."""
        if not id:
            return None
        for collection in snapshot.all():
            if collection.type == "auth" and (await self._store.get_many(collection, [id]))[0] is not None:
                return Caller(id, "user", collection.id)
        return Caller(id, "user")

    async def _verdict(
        self,
        collection: Collection,
        session: Session,
        question: Question,
        expression: tree.Expression | None,
        text: str | None,
    ) -> dict[str, Any] | None:
        if not question.record:
            return None
        doc = await self._store.get(collection, question.record)
        if doc is None:
            raise NotFound("There is no such record.", reason="RECORD_NOT_FOUND")
        # An update is judged by what is stored; a create as if the record were sent now.
        session.request.data = doc
        names = {field.name for field in collection.fields if field.id in doc}
        session.request.given = frozenset(names) if question.rule == "create" else frozenset()
        if expression is None:
            why = "The rule is null: admins only." if text is None else "The rule is empty: anyone."
            allowed = text is not None
            return {"allowed": allowed, "decided_by": why, "clauses": []}
        clause = await self._clause(collection, session, question.rule, expression, doc)
        return {"allowed": clause["result"], "decided_by": " → ".join(_deciding(clause)), "clauses": [clause]}

    async def _clause(
        self, collection: Collection, session: Session, rule: RuleName, node: tree.Expression, doc: Document
    ) -> dict[str, Any]:
        """A part of the rule, what it comes to for the record, and the same of its own parts."""
        query = await self._compiled(collection, session, rule, node, "", [doc])
        parts: Iterable[tree.Expression] = ()
        match node:
            # Conditions on one `@collection` belong together and are not told apart.
            case tree.And(inner) | tree.Or(inner) if "@collection" not in tree.to_text(node):
                parts = inner
            case tree.Not(inner_part):
                parts = (inner_part,)
            case _:
                pass
        return {
            "clause": tree.to_text(node),
            "kind": type(node).__name__.lower(),
            "result": matches(query, doc),
            "parts": [await self._clause(collection, session, rule, part, doc) for part in parts],
        }


def _deciding(clause: dict[str, Any]) -> list[str]:
    """The way from the rule down to the part that made it what it is: of an `&&` the first false one, of an `||` the
    first true one."""
    deciding = [part for part in clause["parts"] if clause["kind"] == "not" or part["result"] == clause["result"]]
    whole = clause["result"] if clause["kind"] == "and" else not clause["result"]
    # Where all parts had to agree no single one has decided.
    if not deciding or (whole and clause["kind"] != "not"):
        return [clause["clause"]]
    return [clause["clause"], *_deciding(deciding[0])]
