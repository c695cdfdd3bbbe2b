"""A request's body to values: exact, or refused with the place of the mistake."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import msgspec

from fastcms_common.errors import Malformed

# A longer row of digits is out of range for every field; it is never made into a number.
_MAX_DIGITS = 400


def decode(body: bytes) -> Any:
    """The JSON value of the body, whole numbers exact however long.

    What is JSON in form but cannot be a value (NaN, 1e400, half a surrogate pair) is kept for the field's check to
    refuse by name: as NaN, an infinity, a surrogate. Malformed where it is no JSON at all.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        pass
    try:
        return json.loads(body.decode(), parse_int=_whole, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        what = "nests too deep" if isinstance(error, RecursionError) else "is not valid JSON"
        raise Malformed(f"The body {what}.", reason="INVALID_JSON") from None


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else math.inf


def _constant(name: str) -> float:
    return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}[name]


def refuse_json(what: str) -> NoReturn:
    """Raises Malformed for a body that is JSON but not `what`."""
    raise Malformed(f"The body must be {what}.", reason="INVALID_JSON")
