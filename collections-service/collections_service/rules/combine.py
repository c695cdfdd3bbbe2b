"""Queries put together, without what is settled already."""

from __future__ import annotations

from collections.abc import Sequence

from fastcms_common.storage import ALL, NONE, And, Not, Or, Query


def conjunction(parts: Sequence[Query]) -> Query:
    """All of the parts."""
    left = [part for part in parts if part != ALL]
    if NONE in left:
        return NONE
    return ALL if not left else left[0] if len(left) == 1 else And(*left)


def disjunction(parts: Sequence[Query]) -> Query:
    """One of the parts."""
    left = [part for part in parts if part != NONE]
    if ALL in left:
        return ALL
    return NONE if not left else left[0] if len(left) == 1 else Or(*left)


def negation(part: Query) -> Query:
    """Not the part."""
    if part == ALL:
        return NONE
    if part == NONE:
        return ALL
    return part.part if isinstance(part, Not) else Not(part)
