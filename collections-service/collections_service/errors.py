"""The errors of single items within an answer that is a success as a whole."""

from __future__ import annotations

from typing import Any

from fastcms_common import errors
from fastcms_common.errors import DomainError

# What each would be answered with by itself (contract, ground rules): the one place outside of the gateway where a
# status is named, since answers about many records carry one for each.
_STATUS: dict[type[DomainError], int] = {
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.Denied: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Stale: 412,
    errors.TooLarge: 413,
    errors.Invalid: 422,
    errors.Exhausted: 429,
    errors.Unavailable: 503,
    errors.TimedOut: 504,
}


def item_error(error: DomainError) -> dict[str, Any]:
    """`status, detail, errors` of one item."""
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 503)
    return {
        "status": status,
        "detail": error.detail,
        "errors": [{"field": field.field, "message": field.message} for field in error.fields],
    }
