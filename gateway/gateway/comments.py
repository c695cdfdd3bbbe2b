"""The comments of the protos, for the API docs. They are read from the .proto files that stand beside the stubs:
generated code does not carry them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import fastcms

_MARKS: Final = frozenset("{}[]()<>;=,:")
_BLOCKS: Final = frozenset({"message", "enum", "service", "oneof", "extend"})
_NOT_FIELDS: Final = frozenset({"syntax", "package", "import", "option", "reserved", "extensions"})


class _Token(NamedTuple):
    """A word, mark or string of a proto file, with the comment that leads up to it."""

    text: str
    comment: str


@cache
def comments_of(file_name: str) -> Mapping[str, str]:
    """Comments by full name of message, field, enum, value, service or rpc, for a file such as
    `fastcms/auth/v1/auth.proto`. Empty for a file that is not among the installed ones."""
    for root in fastcms.__path__:
        path = Path(root).parent / file_name
        if path.is_file():
            return read_comments(path.read_text(encoding="utf-8"))
    return {}


def read_comments(source: str) -> dict[str, str]:
    """Comments by full name, as protoc's source info tells them: those that end on the line before a declaration."""
    tokens = list(_tokens(source))
    found: dict[str, str] = {}
    _read_block(tokens, 0, _package(tokens), found)
    return found


def _package(tokens: list[_Token]) -> str:
    for index, token in enumerate(tokens):
        if token.text == "package":
            return tokens[index + 1].text
    return ""


def _read_block(tokens: list[_Token], index: int, scope: str, found: dict[str, str]) -> int:
    """Reads declarations up to the brace that closes the block; gives the index after it."""
    while index < len(tokens):
        first = tokens[index]
        if first.text == "}":
            return index + 1
        if first.text in _BLOCKS and tokens[index + 2].text == "{":
            name = tokens[index + 1].text
            inner = scope
            if first.text not in ("oneof", "extend"):
                inner = f"{scope}.{name}"
                _note(found, inner, first)
            # What an extend holds is not part of any message of ours.
            index = _read_block(tokens, index + 3, inner, {} if first.text == "extend" else found)
            continue
        if first.text == "rpc":
            _note(found, f"{scope}.{tokens[index + 1].text}", first)
        end = _end_of_statement(tokens, index)
        if first.text not in _NOT_FIELDS and first.text != "rpc":
            for position in range(index, end):
                if tokens[position].text == "=":
                    _note(found, f"{scope}.{tokens[position - 1].text}", first)
                    break
        index = end
    return index


def _end_of_statement(tokens: list[_Token], index: int) -> int:
    """The index after the semicolon, or the closing brace of an rpc's body, that ends the statement at `index`."""
    depth = 0
    is_rpc = tokens[index].text == "rpc"
    while index < len(tokens):
        text = tokens[index].text
        index += 1
        if text == "{":
            depth += 1
        elif text == "}":
            depth -= 1
            if depth == 0 and is_rpc:
                return index
        elif text == ";" and depth == 0:
            return index
    return index


def _note(found: dict[str, str], name: str, token: _Token) -> None:
    if token.comment:
        found[name] = token.comment


def _tokens(source: str) -> Iterator[_Token]:
    """Words, marks and strings in order. A comment counts for the word that begins on the line after it."""
    comment: list[str] = []
    for line in source.splitlines():
        text = line.strip()
        if text.startswith("//"):
            comment.append(text[2:].removeprefix(" "))
            continue
        leading = "\n".join(comment)
        comment = []
        for word in _words(text):
            yield _Token(word, leading)
            leading = ""


def _words(line: str) -> Iterator[str]:
    """The words of one line, without a comment at its end. Strings keep their quotes."""
    start = 0
    position = 0
    while position < len(line):
        letter = line[position]
        if letter in "\"'":
            end = position + 1
            while line[end] != letter:
                end += 2 if line[end] == "\\" else 1
            yield line[position : end + 1]
            position = start = end + 1
            continue
        comment = line.startswith("//", position)
        if comment or letter.isspace() or letter in _MARKS:
            if start < position:
                yield line[start:position]
            if comment:
                return
            if letter in _MARKS:
                yield letter
            start = position + 1
        position += 1
    if start < position:
        yield line[start:position]
