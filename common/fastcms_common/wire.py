"""Domain errors on the wire: `google.rpc.Status` with ErrorInfo, BadRequest and RetryInfo, there and back.

The code, the reason and whether fields are named say all that the gateway needs to choose an HTTP status.
"""

from __future__ import annotations

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from fastcms_common import errors
from fastcms_common.errors import DomainError, FieldError, Invalid

DOMAIN = "fastcms.dev"
DETAILS = "grpc-status-details-bin"
# Details travel in a header: enough fields to be of use, never so many that a proxy refuses them.
_MAX_FIELDS = 100
_MAX_TEXT = 500

_BY_CODE: dict[grpc.StatusCode, type[DomainError]] = {
    kind.code: kind
    for kind in (
        errors.Malformed,
        errors.Unauthenticated,
        errors.Denied,
        errors.NotFound,
        errors.Conflict,
        errors.Stale,
        errors.Exhausted,
        errors.TooLarge,
        errors.Unavailable,
        errors.TimedOut,
    )
}
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def status_of(error: DomainError) -> Status:
    """The status that tells a client of `error`."""
    status = Status(code=error.code.value[0], message=_short(error.detail))
    info = ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    status.details.add().Pack(info)
    if error.fields:
        bad = BadRequest()
        for field in error.fields[:_MAX_FIELDS]:
            bad.field_violations.add(field=_short(field.field), description=_short(field.message))
        status.details.add().Pack(bad)
    if error.retry_after is not None:
        status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=error.retry_after)))
    return status


def error_of(status: Status) -> DomainError | None:
    """The domain error that `status` tells of; None where it is a failure without a meaning (a bug, a lost call)."""
    kind = _BY_CODE.get(_BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN))
    if kind is None:
        return None
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in status.details:
        for known in (info, bad, retry):
            if detail.Is(known.DESCRIPTOR):
                detail.Unpack(known)
    fields = [FieldError(one.field, one.description) for one in bad.field_violations]
    if fields and kind is errors.Malformed:
        return Invalid(fields, detail=status.message, reason=info.reason or None, metadata=dict(info.metadata))
    error = kind.__new__(kind)
    DomainError.__init__(
        error,
        status.message,
        reason=info.reason or None,
        fields=fields,
        retry_after=retry.retry_delay.seconds if retry.HasField("retry_delay") else None,
        metadata=dict(info.metadata),
    )
    return error


def error_of_call(error: grpc.aio.AioRpcError) -> DomainError:
    """The domain error behind a failed call. A failure without a meaning is `Unavailable` to the one who called."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS:
            try:
                told = error_of(Status.FromString(value if isinstance(value, bytes) else value.encode()))
            except DecodeError:
                break
            if told is not None:
                return told
    code = error.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.TimedOut("A service did not answer in time.")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return errors.TooLarge("The message is too large.")
    reason = "SERVICE_UNAVAILABLE" if code is grpc.StatusCode.UNAVAILABLE else "SERVICE_FAILED"
    return errors.Unavailable("A service cannot be reached.", reason=reason)


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
