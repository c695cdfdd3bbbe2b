"""Text to tokens."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from collections_service.rules.errors import ExpressionError

Kind: TypeAlias = Literal["text", "number", "name", "at", "compare", "and", "or", "not", "(", ")", "end"]

# Alternatives are tried in this order, so the longer operators stand before their beginnings. No alternative can match
# in more than one way at a place: reading is linear in the text.
_TOKEN = re.compile(
    r"""
      (?P<space>[ \t\r\n]+)
    | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    | (?P<at>@[A-Za-z]+(?:[+-][0-9]+)?(?:\.[A-Za-z0-9_]+)*(?::[A-Za-z]+)?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*(?::[A-Za-z]+)?)
    | (?P<and>&&)
    | (?P<or>\|\|)
    | (?P<compare>\??(?:!=|!~|>=|<=|=|>|<|~))
    | (?P<not>!)
    | (?P<open>\()
    | (?P<close>\))
    | (?P<quote>["'])
    """,
    re.VERBOSE,
)
_PLAIN = {'"': re.compile(r'[^"\\]*'), "'": re.compile(r"[^'\\]*")}
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "\\": "\\", '"': '"', "'": "'", "/": "/"}
_HEX = re.compile(r"[0-9A-Fa-f]{4}")


@dataclass(frozen=True, slots=True)
class Token:
    """One word of an expression. `value` is the string or number that a literal stands for, else the text itself."""

    kind: Kind
    value: str | int | float
    at: int
    # Behind the last character.
    end: int


def tokens(text: str) -> list[Token]:
    """The words of the text, closed by one of kind `end`. ExpressionError at the first that is none."""
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionError(f"Unexpected character {text[at]!r}", at)
        kind = match.lastgroup or ""
        end = match.end()
        if kind == "quote":
            token = _string(text, at)
        elif kind == "number":
            token = Token("number", _number(match.group(), at), at, end)
        elif kind in ("open", "close"):
            token = Token("(" if kind == "open" else ")", match.group(), at, end)
        elif kind != "space":
            token = Token(kind, match.group(), at, end)  # type: ignore[arg-type]
        else:
            at = end
            continue
        if found and found[-1].end == at and found[-1].kind in _WORDS and token.kind in _WORDS:
            raise ExpressionError(f"Unexpected {text[at : token.end][:40]!r}", at)
        found.append(token)
        at = token.end
    found.append(Token("end", "", at, at))
    return found


# Two of these need something between them: `1a` is a slip of the pen and not two words.
_WORDS = frozenset({"text", "number", "name", "at"})


def _number(text: str, at: int) -> int | float:
    if text.lstrip("-").isdigit():
        # Longer ones are out of range whatever they say, and turning 4,000 digits into a number costs.
        if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
            raise ExpressionError("A whole number has at most 64 bits", at)
        return int(text)
    value = float(text)
    if not math.isfinite(value):
        raise ExpressionError("The number is out of range", at)
    return value


def _string(text: str, start: int) -> Token:
    quote = text[start]
    parts: list[str] = []
    at = start + 1
    while True:
        plain = _PLAIN[quote].match(text, at)
        if plain is not None:
            parts.append(plain.group())
            at = plain.end()
        if at >= len(text):
            raise ExpressionError("The string is not closed", start)
        if text[at] == quote:
            break
        char, at = _escape(text, at)
        parts.append(char)
    value = "".join(parts)
    if "\0" in value:
        raise ExpressionError("A string must not contain the NUL character", start)
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise ExpressionError("A string must be valid Unicode", start)
    return Token("text", value, start, at + 1)


def _escape(text: str, at: int) -> tuple[str, int]:
    """The character that the backslash at `at` stands for, and the place behind it."""
    name = text[at + 1 : at + 2]
    if name in _ESCAPES and name:
        return _ESCAPES[name], at + 2
    if name != "u":
        raise ExpressionError(f"Unknown escape \\{name}", at)
    digits = _HEX.match(text, at + 2)
    if digits is None:
        raise ExpressionError("\\u needs four hexadecimal digits", at)
    code, end = int(digits.group(), 16), digits.end()
    if 0xD800 <= code < 0xDC00 and text[end : end + 2] == "\\u":
        low = _HEX.match(text, end + 2)
        if low is not None and 0xDC00 <= int(low.group(), 16) < 0xE000:
            code = 0x10000 + ((code - 0xD800) << 10) + (int(low.group(), 16) - 0xDC00)
            end = low.end()
    return chr(code), end
