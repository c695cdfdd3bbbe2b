"""The driver's errors as domain errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pymongo import errors

from fastcms_common.errors import TimedOut, TooLarge, Unavailable
from fastcms_common.storage.mongo_codec import mongo_path
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
    """What a duplicate key error (code 11000) means: the server names the index by its keys, its name, or both."""
    keys = list(details.get("keyPattern") or ())
    message = str(details.get("errmsg", ""))
    unique = [index for index in rules.indexes if index.unique] if rules else []
    for index in unique:
        if keys == [mongo_path(path) for path in index.paths] or f" {index_name(index)} " in f"{message} ":
            return Duplicate(index.name, [".".join(path) for path in index.paths])
    return Duplicate("id", ["id"])
