"""What a document may hold, and how single characters fold.

A document is what JSON can say and both engines can keep exactly: objects with string keys, arrays, strings without NUL
and without lone surrogates, integers of signed 64 bit, finite numbers, booleans, null. Anything else is `Invalid`, said
at the door; nothing is rounded, cut or replaced. Keys are free (`$set`, `a.b`, the empty key): engines escape what they
must.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeAlias

from fastcms_common.errors import Invalid, TooLarge

Scalar: TypeAlias = str | int | float | bool | None
Document: TypeAlias = dict[str, Any]

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
# MongoDB nests 100 levels at most, and a collection's record adds a few of its own.
MAX_DEPTH = 64
# MongoDB's own limit is 16 MiB of BSON; escaped keys and BSON's framing need room below it.
MAX_BYTES = 12 * 1024 * 1024


def check_text(text: str, field: str) -> str:
    """The text itself; Invalid if it holds NUL or a lone surrogate."""
    if "\0" in text:
        raise Invalid.field(field, "must not contain the NUL character")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Invalid.field(field, "must be valid Unicode text") from None
    return text


def check_scalar(value: Any, field: str) -> Scalar:
    """The value itself if it is a scalar that both engines can keep; Invalid otherwise."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return check_text(value, field)
    if isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            raise Invalid.field(field, "must be an integer of at most 64 bits")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Invalid.field(field, "must be a finite number")
        return value
    raise Invalid.field(field, f"must be a single JSON value, not {type(value).__name__}")


def check_value(value: Any, field: str, depth: int = 1) -> None:
    """Invalid, naming the exact place, unless the value may stand in a document."""
    if isinstance(value, Mapping | list | tuple):
        if depth > MAX_DEPTH:
            raise Invalid.field(field, f"must not nest deeper than {MAX_DEPTH} levels")
        if isinstance(value, Mapping):
            for key, item in value.items():
                if not isinstance(key, str):
                    raise Invalid.field(field, "must have text keys only")
                check_text(key, field)
                check_value(item, f"{field}.{key}" if field else key, depth + 1)
        else:
            for index, item in enumerate(value):
                check_value(item, f"{field}[{index}]", depth + 1)
    else:
        check_scalar(value, field)


def check_size(size: int) -> None:
    """TooLarge for a document of more than `MAX_BYTES` bytes of JSON."""
    if size > MAX_BYTES:
        raise TooLarge(f"A document may have at most {MAX_BYTES} bytes.", metadata={"limit": str(MAX_BYTES)})


def check_id(value: Any) -> str:
    """A document's `id`: text of 1 to 255 characters."""
    if not isinstance(value, str) or not 1 <= len(value) <= 255:
        raise Invalid.field("id", "must be text of 1 to 255 characters")
    return check_text(value, "id")


def lower_char(char: str) -> str:
    """The lower case of one character where that is one character, else the character itself."""
    low = char.lower()
    return low if len(low) == 1 else char


def fold_char(char: str) -> str:
    """Unicode simple case folding of one character: characters that fold alike differ in case only."""
    folded = char.casefold()
    return folded if len(folded) == 1 else lower_char(char)


def lower(text: str) -> str:
    """The text with every character mapped by `lower_char`."""
    return text.lower() if text.isascii() else "".join(map(lower_char, text))


def fold(text: str) -> str:
    """The text with every character mapped by `fold_char`."""
    return text.lower() if text.isascii() else "".join(map(fold_char, text))


@cache
def _classes(lowering: bool) -> dict[str, str]:
    mapped = lower_char if lowering else fold_char
    classes: dict[str, str] = {}
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        target = mapped(char)
        if target != char:
            classes[target] = classes.get(target, "") + char
    return {target: (target if mapped(target) == target else "") + sources for target, sources in classes.items()}


def folding_to(char: str) -> str:
    """All characters that fold to the same as `char`, itself among them."""
    target = fold_char(char)
    return _classes(False).get(target, target)


def lowering_to(char: str) -> str:
    """All characters whose lower case is `char`: none for an upper-case letter, so the result may be empty."""
    return _classes(True).get(char, char if lower_char(char) == char else "")


def like(text: str, pattern: str) -> bool:
    """The `~` operator on two strings."""
    text, pattern = fold(text), fold(pattern)
    if "%" not in pattern:
        return pattern in text
    head, *middle, tail = pattern.split("%")
    if len(text) < len(head) + len(tail) or not text.startswith(head) or not text.endswith(tail):
        return False
    at, end = len(head), len(text) - len(tail)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
