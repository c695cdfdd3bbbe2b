"""The driver's errors as domain errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pymongo import errors

from fastcms_common.errors import TimedOut, TooLarge, Unavailable
from fastcms_common.storage.rules import TableRules
from fastcms_common.storage.store import Duplicate, Index

DUPLICATE_KEY = 11000
# BSONObjectTooLarge, and "resulting document after update is larger than 16777216".
_TOO_LARGE = frozenset({10334, 17419, 17420})
# MaxTimeMSExpired
_TOO_SLOW = 50


class Refused(Exception):
    """The server would not apply a change to a document as it is. The caller finds out why."""


def index_name(index: Index) -> str:
    """The name of an index in MongoDB: `_id_` and `*` are names of its own."""
    return f"ix_{index.name}"


@contextmanager
def translated(rules: TableRules | None = None) -> Iterator[None]:
    """Duplicate, TooLarge, TimedOut, Unavailable; Refused for what the server will not do. Others pass."""
    try:
        yield
    except errors.DuplicateKeyError as error:
        raise duplicate(rules, error.details or {}) from error
    except (errors.WTimeoutError, errors.ConnectionFailure, errors.WaitQueueTimeoutError) as error:
        raise Unavailable("The database is not available.", reason="STORAGE_UNAVAILABLE") from error
    except errors.DocumentTooLarge as error:
        raise TooLarge("The document is too large.") from error
    except errors.OperationFailure as error:
        if error.code in _TOO_LARGE:
            raise TooLarge("The document is too large.") from error
        if error.code == _TOO_SLOW:
            raise TimedOut("The database took too long to answer.") from error
        raise Refused(str(error)) from error


def duplicate(rules: TableRules | None, details: Mapping[str, Any]) -> Duplicate:
    """What a duplicate key error (code 11000) means. MongoDB names the index (`E11000 duplicate key error collection:
    d.users index: ix_email dup key: …`), be it one that this process's definition has no more. Other servers may not:
    then `index` is empty."""
    named = re.search(r" index: (.+?)(?: dup key: |$)", str(details.get("errmsg", "")))
    name = named.group(1) if named else ""
    if name == "_id_":
        return Duplicate("id", ["id"])
    for index in rules.indexes if rules else ():
        if index.unique and name == index_name(index):
            return Duplicate(index.name, [".".join(path) for path in index.paths])
    return Duplicate(name.removeprefix("ix_"), [])
