"""What can go wrong, said once.

Rules raise one of these; `serving.py` turns it into a `google.rpc.Status`; the gateway turns that into an RFC 9457
problem document. The tree:

    DomainError
    ├── Malformed            the request cannot be read at all (400)
    ├── Invalid              one or more fields are wrong; names each of them (422)
    ├── Unauthenticated      no caller, or one that cannot be believed (401)
    ├── Denied               a known caller that may not do this (403)
    ├── NotFound             (404)
    ├── Conflict             the state of things does not allow it (409)
    ├── Stale                the caller's view of the record is out of date (412)
    ├── Exhausted            too many calls (429)
    ├── TooLarge             (413)
    ├── Unavailable          a dependency is down; try again (503)
    └── TimedOut             the deadline passed (504)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from grpc import StatusCode


@dataclass(frozen=True, slots=True)
class FieldError:
    """One bad field. `field` is its path in the body (`schema.fields[2].name`), `message` a sentence for a person."""

    field: str
    message: str


class DomainError(Exception):
    """An error with a meaning for the caller.

    `reason` is a stable SCREAMING_SNAKE code, `detail` one sentence for a person, `retry_after` whole seconds, and
    `metadata` further machine-readable facts (strings to strings, no secrets).
    """

    code: ClassVar[StatusCode] = StatusCode.UNKNOWN
    default_reason: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        detail: str,
        *,
        reason: str | None = None,
        fields: Sequence[FieldError] = (),
        retry_after: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason or self.default_reason
        self.fields = tuple(fields)
        self.retry_after = retry_after
        self.metadata = dict(metadata or {})


class Malformed(DomainError):
    """The request as a whole cannot be read or makes no sense. It carries no fields: that tells it from Invalid."""

    code = StatusCode.INVALID_ARGUMENT
    default_reason = "MALFORMED_REQUEST"


class Invalid(DomainError):
    """One or more fields are wrong; `fields` names each of them."""

    code = StatusCode.INVALID_ARGUMENT
    default_reason = "VALIDATION_FAILED"

    def __init__(
        self,
        fields: Sequence[FieldError],
        *,
        detail: str = "One or more fields are invalid.",
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        if not fields:
            raise ValueError("Invalid needs at least one field")
        super().__init__(detail, reason=reason, fields=fields, metadata=metadata)

    @classmethod
    def field(cls, field: str, message: str, *, reason: str | None = None) -> Invalid:
        """The common case: a single bad field."""
        return cls([FieldError(field, message)], reason=reason)


class Unauthenticated(DomainError):
    """No caller, or one that cannot be believed."""

    code = StatusCode.UNAUTHENTICATED
    default_reason = "UNAUTHENTICATED"

    def __init__(self, detail: str = "A valid bearer token is required.", *, reason: str | None = None) -> None:
        super().__init__(detail, reason=reason)


class Denied(DomainError):
    """The caller is known and may not do this."""

    code = StatusCode.PERMISSION_DENIED
    default_reason = "FORBIDDEN"


class NotFound(DomainError):
    """There is no such thing, or none that this caller may see."""

    code = StatusCode.NOT_FOUND
    default_reason = "NOT_FOUND"


class Conflict(DomainError):
    """The state of things does not allow it: a duplicate, a task that is running, the last superadmin."""

    code = StatusCode.ALREADY_EXISTS
    default_reason = "CONFLICT"


class Stale(DomainError):
    """`If-Match` named a version that is no longer the current one (RFC 9110, 13.1.1)."""

    code = StatusCode.ABORTED
    default_reason = "PRECONDITION_FAILED"


class Exhausted(DomainError):
    """Too many calls; `retry_after` says when the next one is welcome."""

    code = StatusCode.RESOURCE_EXHAUSTED
    default_reason = "RATE_LIMITED"


class TooLarge(DomainError):
    """A body, a filter or a batch is over its limit."""

    code = StatusCode.OUT_OF_RANGE
    default_reason = "BODY_TOO_LARGE"


class Unavailable(DomainError):
    """Something this call depends on is down or overloaded. Nothing was done; the caller may try again."""

    code = StatusCode.UNAVAILABLE
    default_reason = "DEPENDENCY_UNAVAILABLE"

    def __init__(self, detail: str, *, reason: str | None = None, retry_after: int = 1) -> None:
        super().__init__(detail, reason=reason, retry_after=retry_after)


class TimedOut(DomainError):
    """The deadline passed before there was an answer."""

    code = StatusCode.DEADLINE_EXCEEDED
    default_reason = "DEADLINE_EXCEEDED"
