"""Errors as RFC 9457 problem documents: one table from gRPC's codes to HTTP, one place that writes them.

Whatever went wrong in a service arrives as a `DomainError`; what only HTTP knows (an unknown path, a wrong method, a
body too large) is raised as `Refused`. Of a 5xx the client learns the code and nothing of the cause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from grpc import StatusCode

from fastcms_common.errors import DomainError
from gateway.answers import PROBLEM, Answer, Header

STATUS: Final[Mapping[StatusCode, int]] = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.ABORTED: 412,
    StatusCode.OUT_OF_RANGE: 413,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}
"""HTTP status by gRPC code; 500 for every other. INVALID_ARGUMENT that names fields is 422."""

PASSWORD_POLICY: Final = "PASSWORD_POLICY"
"""The one reason whose `detail` is the list of sentences that apply."""

_HIDDEN: Final = {
    500: "Something went wrong here. It has been logged under the request id.",
    503: "A service that this needs is not available. Try again.",
    504: "There was no answer in time.",
}
# Seconds after which a client may try again where the service did not say.
_RETRY_AFTER: Final = {429: 1, 503: 1}
# A body may be wrong in more places, and under longer names, than a client wants to hear of.
_MAX_ERRORS: Final = 100
_MAX_PATH: Final = 200
_CHALLENGE: Final = b'Bearer realm="fastcms"'

_TITLES: Final = {status.value: status.phrase for status in HTTPStatus}
_TITLES[413] = "Content Too Large"
_TITLES[422] = "Unprocessable Entity"


class Refused(Exception):
    """A request that the gateway itself turns away, with its status, code and text."""

    def __init__(self, status: int, code: str, detail: str, *, headers: Sequence[Header] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = tuple(headers)


def not_found() -> Refused:
    """No route has this path."""
    return Refused(404, "NOT_FOUND", "There is nothing at this path.")


def not_allowed(allowed: Sequence[str]) -> Refused:
    """The path is known, the method is not one of its own (RFC 9110, 15.5.6)."""
    allow = ", ".join(allowed)
    return Refused(
        405, "METHOD_NOT_ALLOWED", f"This path knows {allow} only.", headers=((b"allow", allow.encode("ascii")),)
    )


def status_of(error: DomainError) -> int:
    """The HTTP status that says what a domain error says."""
    if error.fields and error.code == StatusCode.INVALID_ARGUMENT:
        return 422
    return STATUS.get(error.code, 500)


def problem_of(error: DomainError | Refused, request_id: str, *, token_sent: bool = False) -> Answer:
    """The answer that tells the client about an error. `token_sent`: a 401 is about the token that came along."""
    if isinstance(error, Refused):
        return document(error.status, error.code, error.detail, request_id, headers=error.headers)
    status = status_of(error)
    headers: list[Header] = []
    detail: str | list[str] = _HIDDEN.get(status, error.detail)
    if error.reason == PASSWORD_POLICY and error.fields:
        detail = [field.message for field in error.fields]
    if status == 401:
        headers.append((b"www-authenticate", _challenge(error.detail) if token_sent else _CHALLENGE))
    retry_after = error.retry_after or _RETRY_AFTER.get(status)
    if retry_after is not None:
        headers.append((b"retry-after", str(retry_after).encode("ascii")))
    named = error.fields[:_MAX_ERRORS] if status < 500 else ()
    errors = [{"field": field.field[:_MAX_PATH], "message": field.message} for field in named]
    code = "INTERNAL" if status == 500 else error.reason
    return document(status, code, detail, request_id, errors=errors, headers=headers)


def internal(request_id: str) -> Answer:
    """The answer to a request that a defect of ours has stopped."""
    return document(500, "INTERNAL", _HIDDEN[500], request_id)


def document(
    status: int,
    code: str,
    detail: str | list[str],
    request_id: str,
    *,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Sequence[Header] = (),
) -> Answer:
    """A problem document as an answer."""
    content: dict[str, Any] = {
        "type": f"urn:fastcms:problem:{code.lower().replace('_', '-')}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        "errors": list(errors),
    }
    return Answer(status, orjson.dumps(content), PROBLEM, headers)


def _challenge(description: str) -> bytes:
    """RFC 6750, 3: printable ASCII without quotes and backslashes."""
    text = "".join(c for c in description if c.isascii() and c.isprintable() and c not in '"\\`')
    return _CHALLENGE + f', error="invalid_token", error_description="{text}"'.encode("ascii")
