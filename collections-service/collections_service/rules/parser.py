"""Tokens to tree: a Pratt parser (docs/adr/0010). Time and depth are bounded by what the text may hold."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

from collections_service.rules.errors import ExpressionError
from collections_service.rules.lexer import Token, tokens
from collections_service.rules.tree import (
    MODIFIERS,
    MOMENTS,
    STEPS,
    And,
    Compare,
    Constant,
    Expression,
    Macro,
    Modifier,
    Not,
    Op,
    Operand,
    Or,
    Path,
)

# Contract, ground rules: a rule and a filter have 4 KiB.
MAX_BYTES = 4096
# Of parentheses within one another.
MAX_DEPTH = 32
# How tightly an infix word binds.
_POWER = {"or": 1, "and": 2}
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
# Keeps every macro inside the years that a datetime can hold.
_MAX_STEPS = {
    "second": 10**10,
    "minute": 10**8,
    "hour": 10**7,
    "day": 360_000,
    "week": 50_000,
    "month": 12_000,
    "year": 1000,
}


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """The tree of an expression; cached by text. ExpressionError says what is wrong and where."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ExpressionError(f"The expression has more than {MAX_BYTES} bytes", 0)
    parser = _Parser(tokens(text))
    tree = parser.expression(0, 0)
    if parser.peek().kind != "end":
        raise _unexpected(parser.peek())
    return tree


class _Parser:
    def __init__(self, words: list[Token]) -> None:
        self._words = words
        self._index = 0

    def peek(self) -> Token:
        return self._words[self._index]

    def take(self) -> Token:
        token = self._words[self._index]
        # The closing `end` is never passed.
        self._index = min(self._index + 1, len(self._words) - 1)
        return token

    def expression(self, power: int, depth: int) -> Expression:
        """The longest expression from here whose infix words bind tighter than `power`."""
        parts = [self.unary(depth)]
        while (binding := _POWER.get(self.peek().kind, 0)) > power:
            kind = self.take().kind
            parts.append(self.expression(binding, depth))
            # Chains of one operator become one node, however long they are.
            if _POWER.get(self.peek().kind, 0) != binding:
                parts = [_join(kind, parts)]
        return parts[0]

    def unary(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise ExpressionError(f"Parentheses nest deeper than {MAX_DEPTH} levels", self.peek().at)
        if self.peek().kind == "not":
            at = self.take().at
            if self.peek().kind == "not":
                raise ExpressionError("'!' stands once, before a comparison or a parenthesis", self.peek().at)
            return Not(self.unary(depth), at)
        if self.peek().kind == "(":
            self.take()
            inner = self.expression(0, depth + 1)
            if self.peek().kind != ")":
                raise _unexpected(self.peek(), "')'")
            self.take()
            return inner
        return self.compare()

    def compare(self) -> Compare:
        at = self.peek().at
        left = self.operand()
        if self.peek().kind != "compare":
            raise _unexpected(self.peek(), "a comparison such as '='")
        sign = str(self.take().value)
        right = self.operand()
        return Compare(left, cast(Op, sign.removeprefix("?")), right, sign.startswith("?"), at)

    def operand(self) -> Operand:
        token = self.peek()
        if token.kind in ("text", "number"):
            self.take()
            return Constant(token.value, token.at)
        if token.kind == "name":
            self.take()
            return _name(token)
        if token.kind == "at":
            self.take()
            return _at_word(token)
        raise _unexpected(token, "a field or a value")


def _join(kind: str, parts: list[Expression]) -> Expression:
    node = Or if kind == "or" else And
    flat: list[Expression] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, node) else (part,))
    return node(tuple(flat))


def _name(token: Token) -> Operand:
    text = str(token.value)
    if text in _WORDS:
        return Constant(_WORDS[text], token.at)
    names, modifier = _split(text, token)
    return Path("record", names, modifier, token.at)


def _at_word(token: Token) -> Operand:
    names, modifier = _split(str(token.value)[1:], token)
    head = names[0]
    if head == "request" and len(names) > 1:
        return _request(names[1:], modifier, token)
    if head == "collection" and len(names) > 2:
        return Path("collection", names[1:], modifier, token.at)
    if len(names) == 1 and modifier is None:
        return _macro(head, token)
    raise ExpressionError(f"Unknown name '{token.value}'", token.at)


def _request(names: tuple[str, ...], modifier: Modifier | None, token: Token) -> Path:
    head, rest = names[0], names[1:]
    if head == "method" and not rest and modifier is None:
        return Path("method", (), None, token.at)
    if head in ("auth", "data", "query") and rest:
        return Path(cast(Any, head), rest, modifier, token.at)
    raise ExpressionError(f"Unknown name '{token.value}'", token.at)


def _macro(word: str, token: Token) -> Macro:
    sign = "+" if "+" in word else "-"
    name, _, digits = word.partition(sign)
    if name in MOMENTS and not digits:
        return Macro(name, 0, token.at)
    if name in STEPS and digits:
        # The length first: the digits may be thousands.
        if len(digits) > 11 or int(digits) > _MAX_STEPS[name]:
            raise ExpressionError(f"'@{name}' goes at most {_MAX_STEPS[name]} steps", token.at)
        return Macro(name, int(sign + digits), token.at)
    raise ExpressionError(f"Unknown macro '{token.value}'", token.at)


def _split(text: str, token: Token) -> tuple[tuple[str, ...], Modifier | None]:
    path, _, modifier = text.partition(":")
    known = next((name for name in MODIFIERS if name == modifier), None)
    if modifier and known is None:
        raise ExpressionError(f"Unknown modifier ':{modifier}'", token.at + len(str(token.value)) - len(modifier) - 1)
    return tuple(path.split(".")), known


def _unexpected(token: Token, wanted: str | None = None) -> ExpressionError:
    what = "the end" if token.kind == "end" else repr(str(token.value)[:40])
    return ExpressionError(f"Unexpected {what}" + (f", {wanted} is missing" if wanted else ""), token.at)
