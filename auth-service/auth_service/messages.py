"""Models as messages. Nothing is decided here."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from auth_service.identities import Account
from auth_service.models import Grant
from auth_service.sessions import Session, SessionEvent
from fastcms.auth.v1 import auth_pb2, identities_pb2
from fastcms_common import times


def timestamp(moment: str | datetime) -> Timestamp:
    """A canonical text or a datetime as a message."""
    answer = Timestamp()
    answer.FromDatetime(times.from_text(moment) if isinstance(moment, str) else moment)
    return answer


def identity(account: Account) -> identities_pb2.Identity:
    """An account as admins see it."""
    one, lock = account.identity, account.lock
    return identities_pb2.Identity(
        id=one.id,
        email=one.email,
        name=one.name,
        role=one.role,
        superadmin=one.superadmin,
        verified=one.verified,
        disabled=one.disabled,
        collection=account.collection,
        created=timestamp(one.created),
        last_login=timestamp(one.last_login) if one.last_login else None,
        failed_login_attempts=lock.failed,
        locked_until=timestamp(lock.locked_until) if lock.locked_until else None,
    )


def lock_status(account: Account) -> identities_pb2.LockStatus:
    """Whether an account is locked."""
    lock = account.lock
    return identities_pb2.LockStatus(
        user_id=account.identity.id,
        is_locked=lock.remaining_seconds > 0,
        failed_login_attempts=lock.failed,
        locked_until=timestamp(lock.locked_until) if lock.locked_until else None,
        remaining_seconds=lock.remaining_seconds,
    )


def session(one: Session, current_id: str | None) -> auth_pb2.Session:
    """A session as its owner sees it."""
    return auth_pb2.Session(
        id=one.id,
        created=timestamp(one.created),
        last_used=timestamp(one.last_used),
        user_agent=one.user_agent,
        ip_address=one.ip_address,
        current=one.id == current_id,
    )


def session_event(one: SessionEvent) -> auth_pb2.SessionEvent:
    """A use of a refresh token."""
    return auth_pb2.SessionEvent(
        kind=one.kind, time=timestamp(one.time), ip_address=one.ip_address, user_agent=one.user_agent
    )


def grant(one: Grant) -> identities_pb2.Grant:
    """An impersonation."""
    return identities_pb2.Grant(
        session_id=one.id,
        actor_id=one.actor_id,
        target_id=one.target_id,
        started=timestamp(one.started),
        expires=timestamp(one.expires),
    )


def impersonation(one: Grant) -> auth_pb2.Impersonation:
    """An impersonation as the person sees it who was impersonated."""
    return auth_pb2.Impersonation(
        id=one.id,
        actor_id=one.actor_id,
        actor_email=one.actor_email,
        reason=one.reason,
        started=timestamp(one.started),
        expires=timestamp(one.expires),
        ended=timestamp(one.ended) if one.ended else None,
    )
