"""Every query of admin-service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Literal

from admin_service.audit_chain import Checkpoint, checkpoint_of
from admin_service.migrations import MIGRATIONS
from fastcms_common.storage import (
    ALL,
    And,
    Change,
    Document,
    Duplicate,
    Index,
    Query,
    Store,
    Table,
    eq,
    ge,
    gt,
    le,
)
from fastcms_common.storage.migrations import migrate

AUDIT = Table(
    "audit_events",
    indexes=(
        # The place in the chain: of two writers that both extend it, the one that comes second is told.
        Index("position", unique=True, required=True),
        Index([("created", -1)], name="newest"),
        Index(["user_id", ("created", -1)], name="by_user"),
        Index(["actor_id", ("created", -1)], name="by_actor"),
        Index(["event_action", ("created", -1)], name="by_action"),
        Index(["event_type", ("created", -1)], name="by_type"),
        Index(["ip_address", ("created", -1)], name="by_address"),
        Index(["resource_id", ("created", -1)], name="by_resource"),
    ),
    scalars=("severity", "outcome", "resource_type"),
)
CHECKPOINTS = Table("audit_checkpoints")
IP_RULES = Table(
    "ip_rules",
    indexes=(Index(["cidr", "rule_type"], unique=True, required=True), Index("expires_at"), Index([("created", -1)])),
)
# What admins have changed: {id: the category, version, values}.
SETTINGS = Table("settings")
# The highest lease that each job has shown: {id: the job, token}.
FENCES = Table("fences")

_PAGE = 1000


class AdminStore:
    """The queries, by what they are for. Errors are those of `fastcms_common.storage.Store`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def prepare(self) -> None:
        """Makes the tables and indexes that are missing, and the data what this release works on. DataTooNew."""
        for table in (AUDIT, CHECKPOINTS, IP_RULES, SETTINGS, FENCES):
            await self._store.ensure(table)
        await migrate(self._store, MIGRATIONS)

    async def ping(self) -> None:
        await self._store.ping()

    async def close(self) -> None:
        await self._store.close()

    # -- audit events ---------------------------------------------------------------------------------------------

    async def add_event(self, row: Document) -> None:
        """A row of the log. Duplicate where its id or its position in the chain is taken."""
        await self._store.insert(AUDIT.name, row)

    async def event(self, event_id: str) -> Document | None:
        return await self._store.get(AUDIT.name, event_id)

    async def event_at(self, position: int) -> Document | None:
        return await self._store.first(AUDIT.name, eq("position", position))

    async def last_event(self) -> Document | None:
        """The row at the end of the chain."""
        return await self._store.first(AUDIT.name, ALL, sort=[("position", -1)])

    async def events(self, where: Query, limit: int, offset: int = 0) -> tuple[list[Document], int]:
        """A page of the log, the newest first, and how many rows there are in all."""
        total = await self._store.count(AUDIT.name, where)
        if offset >= total:
            return [], total
        page = await self._store.find(AUDIT.name, where, sort=[("created", -1)], limit=limit, offset=offset)
        return page, total

    async def newest_events(self, where: Query, limit: int) -> list[Document]:
        """The newest rows that match."""
        return await self._store.find(AUDIT.name, where, sort=[("created", -1)], limit=limit)

    async def chain(self, behind: int, where: Query = ALL) -> AsyncIterator[list[Document]]:
        """The matching rows of the chain in their order, page by page, from the one behind the position `behind` on."""
        while page := await self._store.find(
            AUDIT.name, And(gt("position", behind), where), sort=[("position", 1)], limit=_PAGE
        ):
            yield page
            behind = page[-1]["position"]

    async def first_event_since(self, created: str) -> Document | None:
        """The first row in the chain that is not older than `created`."""
        return await self._store.first(AUDIT.name, ge("created", created), sort=[("position", 1)])

    async def drop_events(self, position: int) -> int:
        """Removes the rows up to and with `position`; how many."""
        return await self._store.delete_many(AUDIT.name, le("position", position))

    async def count_events(self, where: Query) -> int:
        return await self._store.count(AUDIT.name, where)

    async def actions(self) -> list[str]:
        """The distinct actions in the log: one look-up on the index for each, not one for each row."""
        actions: list[str] = []
        where: Query = ALL
        while row := await self._store.first(AUDIT.name, where, sort=[("event_action", 1)]):
            actions.append(row["event_action"])
            where = gt("event_action", row["event_action"])
        return actions

    async def checkpoint(self, kind: Literal["head", "floor"]) -> Checkpoint | None:
        found = await self._store.get(CHECKPOINTS.name, kind)
        return checkpoint_of(found) if found is not None else None

    async def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keeps the checkpoint unless a later one of its kind is there already."""
        doc = {"id": checkpoint.kind, **asdict(checkpoint)}
        if await self._store.replace(CHECKPOINTS.name, doc, le("position", checkpoint.position)) is None:
            try:
                await self._store.insert(CHECKPOINTS.name, doc)
            except Duplicate:
                # A later one is there.
                return

    # -- IP rules -------------------------------------------------------------------------------------------------

    async def ip_rules(self) -> list[Document]:
        """All of them."""
        return await self._store.find(IP_RULES.name)

    async def ip_rules_page(self, rule_type: str | None, limit: int, offset: int) -> tuple[list[Document], int]:
        """A page of the rules, the newest first, and how many there are in all."""
        where = eq("rule_type", rule_type) if rule_type else ALL
        total = await self._store.count(IP_RULES.name, where)
        page = await self._store.find(IP_RULES.name, where, sort=[("created", -1)], limit=limit, offset=offset)
        return page, total

    async def ip_rule(self, rule_id: str) -> Document | None:
        return await self._store.get(IP_RULES.name, rule_id)

    async def add_ip_rule(self, rule: Document) -> None:
        """Duplicate where there is a rule of this type for this network."""
        await self._store.insert(IP_RULES.name, rule)

    async def delete_ip_rule(self, rule_id: str) -> bool:
        return await self._store.delete(IP_RULES.name, rule_id) is not None

    async def delete_expired_ip_rules(self, now: str, cidr: str | None = None) -> list[str]:
        """Removes the rules (those for `cidr`, if given) whose time is over at `now`; their ids."""
        # A rule without an end has no `expires_at`, and null is not before anything.
        over: Query = le("expires_at", now)
        where = And(over, eq("cidr", cidr)) if cidr is not None else over
        found = await self._store.find(IP_RULES.name, where, fields=["expires_at"])
        return [rule["id"] for rule in found if await self._store.delete(IP_RULES.name, rule["id"], over)]

    # -- settings -------------------------------------------------------------------------------------------------

    async def settings(self, category: str) -> Document | None:
        """`{version, values}` of what was changed in a category; None where nothing was."""
        return await self._store.get(SETTINGS.name, category)

    async def keep_settings(self, category: str, values: Document, version: int) -> bool:
        """Keeps the values as the successor of `version` (0: of none); False where another came first."""
        doc = {"id": category, "version": version + 1, "values": values}
        if version:
            return await self._store.replace(SETTINGS.name, doc, eq("version", version)) is not None
        try:
            await self._store.insert(SETTINGS.name, doc)
        except Duplicate:
            return False
        return True

    # -- leases ---------------------------------------------------------------------------------------------------

    async def pass_fence(self, job: str, token: int) -> bool:
        """Whether `token` is at least as high as any that `job` has shown; remembers it."""
        for _ in range(2):
            if await self._store.update(FENCES.name, job, Change(set={"token": token}), le("token", token)):
                return True
            try:
                await self._store.insert(FENCES.name, {"id": job, "token": token})
            except Duplicate:
                # A higher one is there, or one that was made between the two questions: ask once more.
                continue
            return True
        return False
