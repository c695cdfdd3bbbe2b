"""Bodies that arrive as they were sent, because a collection's own fields are in them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import orjson

from fastcms_common.errors import FieldError, Invalid, Malformed

MAX_DEPTH = 32
_TEXTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_REQUIRED = "This field is required."


class Body:
    """A JSON object. Every problem of it is told at once, by `rest`."""

    def __init__(self, text: bytes) -> None:
        try:
            # Strict about everything but repeated keys, which the second reading finds.
            orjson.loads(text)
            value = json.loads(text, object_pairs_hook=_unrepeated)
        except (ValueError, RecursionError) as problem:
            raise Malformed(f"The body is not JSON: {problem}.", reason="MALFORMED_JSON") from None
        if not isinstance(value, dict):
            raise Malformed("The body has to be a JSON object.", reason="MALFORMED_JSON")
        _check_depth(value, 1)
        self._fields: dict[str, Any] = value
        # What is passed on is passed on as it was written: 2^53+1 and 1.10 stay what they are.
        self._texts = _TEXTS.decode(text)
        self._problems: list[FieldError] = []

    def take_text(self, name: str, longest: int) -> str:
        """Takes a required text of at most `longest` code points out."""
        value = self._fields.pop(name, None)
        if value is None or value == "":
            self._problems.append(FieldError(name, _REQUIRED))
        elif not isinstance(value, str):
            self._problems.append(FieldError(name, "Must be a string."))
        elif len(value) > longest:
            self._problems.append(FieldError(name, f"Must have at most {longest} characters."))
        elif "\0" in value:
            self._problems.append(FieldError(name, "Must not contain the NUL character."))
        else:
            return value
        return ""

    def rest(self) -> bytes:
        """The object of what has not been taken. Raises Invalid with all problems so far."""
        if self._problems:
            raise Invalid(self._problems)
        members = (orjson.dumps(name) + b":" + bytes(self._texts[name]) for name in self._fields)
        return b"{" + b",".join(members) + b"}"


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the same key is there twice in one object")
    return found


def _check_depth(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Malformed(f"The body is nested deeper than {MAX_DEPTH} levels.", reason="MALFORMED_JSON")
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            _check_depth(item, depth + 1)
