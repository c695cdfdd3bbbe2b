"""Documents and paths as MongoDB keeps them.

Keys are escaped so that none is an operator, a path or an array index: MongoDB reads `$set`, `a.b` and `0` in ways of
its own. `%` introduces an escape: `%25 %24 %2E` for `% $ .` wherever they stand, `%3N` for the first digit of a key
that is all digits, `%_` for the empty key, and `%5Fid` for a `_id` at the top, where `_id` itself is the document's
`id`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson.int64 import Int64

from fastcms_common.storage.query import Path
from fastcms_common.storage.values import Document

_ESCAPES = str.maketrans({"%": "%25", "$": "%24", ".": "%2E"})


def escaped(key: str) -> str:
    """A key as it is stored."""
    if key.isascii() and key.isidentifier():
        return key
    if key.isascii() and key.isdigit():
        return f"%3{key}"
    return key.translate(_ESCAPES) or "%_"


def unescaped(key: str) -> str:
    """The key that was stored like this."""
    if "%" not in key:
        return key
    if key == "%_":
        return ""
    if key.startswith("%3"):
        return key[2:]
    for code, char in (("%24", "$"), ("%2E", "."), ("%25", "%")):
        key = key.replace(code, char)
    return key


def _top(key: str) -> str:
    if key == "id":
        return "_id"
    return "%5Fid" if key == "_id" else escaped(key)


def mongo_path(path: Path) -> str:
    """A path in MongoDB's dot notation."""
    return ".".join((_top(path[0]), *map(escaped, path[1:])))


def encode(doc: Mapping[str, Any]) -> dict[str, Any]:
    """A document as it is stored."""
    return {_top(key): encode_value(value) for key, value in doc.items()}


def encode_value(value: Any) -> Any:
    """What lies below the top of a document, as it is stored."""
    if isinstance(value, Mapping):
        return {escaped(key): encode_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode_value(item) for item in value]
    return value


def decode(stored: Mapping[str, Any]) -> Document:
    """The document that was stored like this: a copy through and through."""
    doc = {"id": stored["_id"]}
    for key, value in stored.items():
        if key == "_id":
            continue
        doc["_id" if key == "%5Fid" else unescaped(key)] = decode_value(value)
    return doc


def decode_value(value: Any) -> Any:
    """What was stored like this below the top of a document."""
    if isinstance(value, dict):
        return {unescaped(key): decode_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode_value(item) for item in value]
    return int(value) if type(value) is Int64 else value
