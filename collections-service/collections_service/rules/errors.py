"""What is wrong with a rule or a filter, and where."""

from __future__ import annotations

from fastcms_common.errors import FieldError, Invalid


class ExpressionError(Exception):
    """One mistake in an expression. `at` is the place in code points, from 0."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


def explain(text: str, error: ExpressionError) -> str:
    """The mistake with its position (from 1), the line it stands in and a caret under the place."""
    at = min(error.at, len(text))
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    line = text[start : len(text) if end < 0 else end]
    # A long line is shown around the place only.
    first = max(0, at - start - 60)
    shown = line[first : first + 120].replace("\t", " ")
    return f"{error.message} (position {at + 1})\n{shown}\n{' ' * (at - start - first)}^"


def invalid(field: str, text: str, error: ExpressionError, reason: str) -> Invalid:
    """The mistake as the domain error that names `field`."""
    return Invalid([FieldError(field, explain(text, error))], detail=f"{field}: {error.message}", reason=reason)
