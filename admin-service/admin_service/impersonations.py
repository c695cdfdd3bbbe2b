"""Acting as someone else, in a way that one can answer for.

auth-service judges who may act as whom and opens the session; what is here makes sure that nobody holds a token whose
start is not in the log: the event is written to the store between opening the session and giving the token out, and
where it cannot be written the session is ended again. A process that dies in between has given the token to nobody.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from admin_service.audit_trail import AuditTrail
from fastcms.admin.v1.audit_pb2 import AuditEvent
from fastcms.auth.v1 import identities_pb2
from fastcms_common.audit import build_event
from fastcms_common.channels import as_service
from fastcms_common.context import bind, current
from fastcms_common.errors import DomainError, TimedOut, Unauthenticated, Unavailable
from fastcms_common.logs import get_logger

if TYPE_CHECKING:
    from fastcms.auth.v1.identities_pb2_grpc import IdentitiesServiceAsyncStub

# Seconds; the seed's default.
DURATION = 3600

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Started:
    """An impersonation that has begun, for `duration` seconds."""

    response: identities_pb2.StartImpersonationResponse
    duration: int


class Impersonations:
    """Starting and ending. The caller, and their token, are those of the current call."""

    def __init__(self, identities: IdentitiesServiceAsyncStub, trail: AuditTrail) -> None:
        self._identities = identities
        self._trail = trail

    async def start(self, target_id: str, duration: int | None, reason: str | None) -> Started:
        """Opens a session in which the calling admin is `target_id` for `duration` seconds.

        Raises what auth-service refuses with (Malformed, Denied, NotFound), each refusal audited; Unavailable where the
        start cannot be written down, and then there is no session.
        """
        request = identities_pb2.StartImpersonationRequest(
            actor_token=_token(), target_id=target_id, duration=duration or DURATION, reason=reason
        )
        try:
            with as_service():
                started = await self._identities.StartImpersonation(request)
        except (Unavailable, TimedOut):
            raise
        except DomainError as refusal:
            await self._record_refusal(target_id, reason, refusal)
            raise
        try:
            await self._trail.append(_start_event(started, request.duration, reason))
        except BaseException as error:
            # Also where the caller has gone: nobody has seen the token, so nobody will ever end the session.
            await asyncio.shield(self._withdraw(started.access_token))
            if isinstance(error, DomainError):
                raise Unavailable(
                    "The start cannot be written to the audit log.", reason="AUDIT_UNAVAILABLE"
                ) from error
            raise
        return Started(started, request.duration)

    async def end(self) -> bool:
        """Ends the impersonation whose token calls, or all that the calling admin has given; whether there was one.
        auth-service writes their ends down, as it does where a fall in rank or a new start has ended them."""
        with as_service():
            ended = await self._identities.EndImpersonation(identities_pb2.EndImpersonationRequest(token=_token()))
        return len(ended.grants) > 0

    async def _withdraw(self, token: str) -> None:
        try:
            # Not under the caller's deadline, which may be what has just passed.
            with bind(replace(current(), deadline=None)), as_service():
                await self._identities.EndImpersonation(identities_pb2.EndImpersonationRequest(token=token))
        except DomainError as error:
            log.error("an impersonation that nobody holds could not be ended", error=error.detail)

    async def _record_refusal(self, target_id: str, reason: str | None, refusal: DomainError) -> None:
        event = build_event(
            "admin",
            "impersonation_refused",
            severity="warning",
            description="An attempt to act as someone else was refused.",
            resource_type="user",
            resource_id=target_id,
            details={"reason": reason, "refusal": refusal.reason},
            outcome="failure",
            error_message=refusal.detail,
        )
        # The refusal stands whether or not it can be written down.
        try:
            await self._trail.keep(event)
        except Unavailable as error:
            log.error("audit event not written", event_action=event.event_action, error=error.detail)


def _token() -> str:
    token = current().token
    if token is None:
        raise Unauthenticated
    return token


def _start_event(started: identities_pb2.StartImpersonationResponse, duration: int, reason: str | None) -> AuditEvent:
    event = build_event(
        "admin",
        "impersonation_started",
        severity="warning",
        user_id=started.target.id,
        user_email=started.target.email,
        resource_type="user",
        resource_id=started.target.id,
        description=f"{started.actor_email} began to act as {started.target.email}.",
        details={
            "reason": reason,
            "duration": duration,
            "session_id": started.session_id,
            "expires_at": started.expires.ToJsonString(),
            "actor_email": started.actor_email,
        },
    )
    event.actor_id = started.actor_id
    return event
