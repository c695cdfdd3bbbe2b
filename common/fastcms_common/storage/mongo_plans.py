"""What MongoDB's `explain` says, as a `Plan`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastcms_common.storage.store import Plan

# Reads by id have stages of their own: IDHACK, from MongoDB 8 on EXPRESS_IXSCAN and EXPRESS_CLUSTERED_IXSCAN.
_BY_ID = frozenset({"IDHACK", "CLUSTERED_IXSCAN", "EXPRESS_CLUSTERED_IXSCAN"})


def plan_of(answer: Mapping[str, Any]) -> Plan | None:
    """The plan that won; None where the server does not tell it, as stand-ins for MongoDB may not."""
    winning = answer.get("queryPlanner", {}).get("winningPlan")
    if not isinstance(winning, Mapping):
        return None
    stages = list(_stages(winning))
    indexes = [name for stage in stages if (name := _index(stage)) is not None]
    lines = [" ".join(filter(None, (stage["stage"], stage.get("indexName")))) for stage in stages]
    scans = any(stage["stage"] == "COLLSCAN" for stage in stages)
    return Plan(tuple(dict.fromkeys(indexes)), scans, tuple(lines))


def _stages(node: Any) -> Iterator[Mapping[str, Any]]:
    """All stages, the outermost first: plans of shards and of the slot-based engine hold theirs under other names."""
    if isinstance(node, Mapping):
        if isinstance(node.get("stage"), str):
            yield node
        for inner in node.values():
            yield from _stages(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _stages(inner)


def _index(stage: Mapping[str, Any]) -> str | None:
    if stage["stage"] in _BY_ID:
        return "id"
    name = stage.get("indexName")
    if name is None:
        return None
    return "id" if name == "_id_" else str(name).removeprefix("ix_")
