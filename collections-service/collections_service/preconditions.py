"""`If-Match` (RFC 9110, 13.1.1)."""

from __future__ import annotations

import re

from collections_service.models import REVISION
from fastcms_common.errors import Stale
from fastcms_common.storage import ALL, NONE, Document, In, Query, matches

_TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e]*)"\s*(?:,|$)')


def if_match(header: str) -> Query:
    """The records that the header admits. One that cannot be read, or names weak tags alone, admits none.

    A tag is the record's revision, a dot and what only concerns how it was shown; a changed view is no conflict.
    """
    if not header:
        return ALL
    if header.strip() == "*":
        return ALL
    revisions = []
    at = 0
    while at < len(header):
        found = _TAG.match(header, at)
        if found is None:
            return NONE
        if not found.group(1):
            revisions.append(found.group(2).rpartition(".")[0])
        at = found.end()
    return In((REVISION,), revisions) if revisions else NONE


def require(header: str, doc: Document) -> None:
    """Raises Stale where the record is not the one that the header admits."""
    if not matches(if_match(header), doc):
        raise Stale("The record has changed since it was read.")
