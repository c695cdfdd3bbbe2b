"""`expand`: the records that relations point to, one query for each relation however many records there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from collections_service.models import ID, Collection, FieldDefinition
from collections_service.policy import Session
from collections_service.rendering import view
from collections_service.rules.types import MAX_HOPS
from fastcms_common.errors import FieldError, Invalid
from fastcms_common.storage import Document, matches

# Relations that one request may expand.
MAX_PATHS = 20


@dataclass
class _Branch:
    """A relation to be expanded, and what is to be expanded behind it."""

    relation: FieldDefinition
    target: Collection
    behind: dict[str, _Branch] = field(default_factory=dict)


class Expansion:
    """What one request wants expanded: `author,author.team`. Invalid naming a path that leads along no relations."""

    def __init__(self, session: Session, collection: Collection, expand: str) -> None:
        self._session = session
        self._tree: dict[str, _Branch] = {}
        if not expand or not expand.strip():
            return
        errors = []
        paths = [path.strip() for path in expand.split(",")]
        if len(paths) > MAX_PATHS:
            raise Invalid.field("expand", f"at most {MAX_PATHS} paths")
        for path in paths:
            if not self._add(collection, path.split(".")):
                errors.append(FieldError("expand", f"'{path[:100]}' does not lead along relations"))
        if errors:
            raise Invalid(errors)

    def _add(self, collection: Collection, names: list[str]) -> bool:
        here, branches = collection, self._tree
        if len(names) > MAX_HOPS:
            return False
        for name in names:
            relation = here.by_name.get(name)
            if relation is None or relation.type != "relation" or (relation.hidden and not self._session.sees_all):
                return False
            target = self._session.snapshot.with_id(relation.collection or "")
            if target is None:
                return False
            branch = branches.setdefault(name, _Branch(relation, target))
            here, branches = target, branch.behind
        return True

    @property
    def empty(self) -> bool:
        return not self._tree

    async def of(self, docs: Sequence[Document]) -> list[dict[str, Any] | None]:
        """The `expand` of each record: those records behind it that the caller may view."""
        return list(await self._expand(docs, self._tree))

    async def _expand(self, docs: Sequence[Document], tree: Mapping[str, _Branch]) -> list[dict[str, Any] | None]:
        if not tree:
            return [None] * len(docs)
        expanded: list[dict[str, Any] | None] = [{} for _ in docs]
        for name, branch in tree.items():
            shown = await self._records(branch, docs)
            for doc, into in zip(docs, expanded, strict=True):
                held = doc.get(branch.relation.id)
                if into is None or held is None:
                    continue
                if isinstance(held, list):
                    into[name] = [shown[id] for id in held if id in shown]
                elif held in shown:
                    into[name] = shown[held]
        return expanded

    async def _records(self, branch: _Branch, docs: Sequence[Document]) -> dict[str, Any]:
        """The visible records that the relation points to from any of the documents, as JSON, by id."""
        ids: dict[str, None] = {}
        for doc in docs:
            held = doc.get(branch.relation.id)
            ids.update(dict.fromkeys(held if isinstance(held, list) else [held] if held is not None else []))
        session, target = self._session, branch.target
        found = [doc for doc in await session.get_many(target, list(ids)) if doc is not None]
        allowed = await session.allowed(target, "view", found)
        visible = [doc for doc in found if matches(allowed, doc)]
        looks = view(target, session.caller, session.sees_all)
        behind = await self._expand(visible, branch.behind)
        return {doc[ID]: looks.shown(doc, inner) for doc, inner in zip(visible, behind, strict=True)}
