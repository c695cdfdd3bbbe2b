"""Acting as someone else: who may, for how long, and how it ends.

A grant is a document; each pair of admin and target has one seat, which the latest grant takes from the one before. The
grant's session in Redis is what gives it force, and ends by itself when the time is over.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from auth_service.access_tokens import AccessTokens
from auth_service.grant_store import GrantStore
from auth_service.models import Grant, Identity
from auth_service.sessions import Sessions
from auth_service.store import AuthStore
from fastcms.admin.v1.audit_pb2 import AuditEvent
from fastcms_common import times
from fastcms_common.access import refuse_impersonation
from fastcms_common.audit import AuditLog, build_event
from fastcms_common.context import Caller
from fastcms_common.errors import Conflict, Denied, Malformed, NotFound, Unauthenticated
from fastcms_common.ids import new_id
from fastcms_common.sessions import SessionGuard
from fastcms_common.tokens import TokenVerifier

# A grant that is younger may still be getting its session.
_OPENING = timedelta(minutes=1)

_Reason = Literal["requested", "superseded", "rank_lost", "session_ended", "expired"]


@dataclass(frozen=True, slots=True)
class Started:
    """A grant that runs, and its token."""

    grant: Grant
    target: Identity
    access_token: str


class Impersonations:
    """Grants to act as someone else."""

    def __init__(
        self,
        store: AuthStore,
        grants: GrantStore,
        sessions: Sessions,
        tokens: AccessTokens,
        verifier: TokenVerifier,
        guard: SessionGuard,
        audit: AuditLog,
    ) -> None:
        self._store = store
        self._grants = grants
        self._sessions = sessions
        self._tokens = tokens
        self._verifier = verifier
        self._guard = guard
        self._audit = audit

    async def start(self, actor_token: str, target_id: str, duration: int, reason: str | None) -> Started:
        """Lets the admin of `actor_token` act as `target_id` for `duration` seconds.

        A grant that the admin has for the same person already is ended by it. Contract, section 4, tells the refusals.
        """
        caller = await self._alive(actor_token)
        actor = await self._actor(caller)
        if actor.id == target_id:
            raise Malformed("You cannot impersonate yourself.", reason="SELF_IMPERSONATION")
        target = await self._store.identity(target_id)
        if target is None or target.state != "active":
            raise NotFound("There is no such user.", reason="USER_NOT_FOUND")
        if target.superadmin or target.rank >= actor.rank:
            raise Denied("Only users of a lower rank can be impersonated.", reason="RANK_TOO_HIGH")
        if target.disabled:
            raise Conflict("This account is disabled.", reason="ACCOUNT_DISABLED")
        grant = await self._grant(actor, target, duration, reason)
        await self._sessions.open_impersonation(target, actor.id, grant.id, duration)
        # Another start of the same pair may have ended the grant before there was a session to end with it.
        if await self._grants.seated(grant) != grant.id:
            await self._end(grant, "superseded")
            raise Conflict(
                "Another impersonation of this user was started meanwhile.", reason="IMPERSONATION_SUPERSEDED"
            )
        if await self._changed(caller, target):
            await self._end(grant, "session_ended")
            raise Conflict("An account was changed meanwhile. Try again.", reason="ACCOUNT_CHANGED")
        token = self._tokens.for_session(target, grant.id, duration, actor_id=actor.id)
        return Started(grant, target, token)

    async def end(self, token: str) -> list[Grant]:
        """Ends the grant of an impersonation token, or all active ones of the admin whose own token it is."""
        caller = await self._alive(token)
        if caller.actor_id is not None:
            grants = [await self._grants.grant(caller.session_id or "")]
        else:
            grants = list(await self._grants.active_grants(caller.id))
        ended = [await self._end(grant, "requested") for grant in grants if grant is not None]
        return [grant for grant in ended if grant is not None]

    async def end_of_actor(self, actor_id: str, reason: Literal["rank_lost", "session_ended"]) -> None:
        """Ends what an admin has given: they are none any more, or their sessions have ended and with them whatever a
        thief has begun there."""
        for grant in await self._grants.active_grants(actor_id):
            await self._end(grant, reason)

    async def close(self) -> int:
        """Closes the grants whose time is over, and those whose session has been ended with the person's others; how
        many. Nobody has ended them, so nobody else has written it down."""
        closed, settled = 0, times.to_text(times.now() - _OPENING)
        async for grant in self._grants.open_grants():
            over = grant.expires <= times.now_text()
            if over or (grant.started < settled and await self._sessions.get(grant.id) is None):
                closed += await self._end(grant, "session_ended") is not None
        return closed

    async def of_target(self, target_id: str, limit: int) -> list[Grant]:
        """Who acted as this person, the newest first."""
        return await self._grants.grants_for(target_id, limit)

    async def _actor(self, caller: Caller) -> Identity:
        refuse_impersonation(caller)
        if not caller.is_admin:
            raise Denied("Only admins may do this.", reason="ADMIN_REQUIRED")
        # The token says what was true when it was made; what counts is what is true now.
        actor = await self._store.identity(caller.id)
        if actor is None or actor.state != "active" or actor.disabled or actor.rank == 0:
            raise Denied("Only admins may do this.", reason="ADMIN_REQUIRED")
        return actor

    async def _changed(self, caller: Caller, target: Identity) -> bool:
        """Whether the admin may not act any more, or the person not be acted as. Who fell or rose since they were read
        had every session ended that there was; the new one was not there yet, so it is for us to look again."""
        if await self._sessions.get(caller.session_id or "") is None:
            return True
        now = await self._store.identity(target.id)
        return now is None or (now.state, now.epoch) != (target.state, target.epoch)

    async def _alive(self, token: str) -> Caller:
        caller = await self._verifier.verify(token)
        if caller.session_id is None:
            raise Unauthenticated
        await self._guard.check(caller.session_id)
        return caller

    async def _grant(self, actor: Identity, target: Identity, duration: int, reason: str | None) -> Grant:
        now = times.now()
        grant = Grant(
            id=new_id(),
            actor_id=actor.id,
            actor_email=actor.email,
            target_id=target.id,
            reason=reason,
            started=times.to_text(now),
            expires=times.to_text(now + timedelta(seconds=duration)),
        )
        await self._grants.add_grant(grant)
        before = await self._grants.take_seat(grant)
        if before is not None:
            await self._end(before, "superseded")
        return grant

    async def _end(self, grant: Grant, reason: _Reason) -> Grant | None:
        # The session first: a crash in between leaves a grant that looks alive and can do nothing. The event before
        # the mark: whoever comes after a crash writes it again, and the log knows it by its id.
        await self._sessions.end(grant.id, grant.target_id)
        if grant.ended is not None:
            return None
        ended = times.now_text()
        if grant.expires <= ended:
            reason, ended = "expired", grant.expires
        await self._audit.publish(_end_event(grant, reason, ended))
        return await self._grants.end_grant(grant.id, ended)


def _end_event(grant: Grant, reason: _Reason, ended: str) -> AuditEvent:
    event = build_event(
        "admin",
        "impersonation_ended",
        user_id=grant.target_id,
        resource_type="user",
        resource_id=grant.target_id,
        description=f"{grant.actor_email} no longer acts as this user",
        details={"session_id": grant.id, "started": grant.started, "reason": reason},
    )
    # One grant has one end, however many see it at once.
    event.id = str(uuid.uuid5(uuid.UUID(grant.id), "ended"))
    event.created.FromDatetime(times.from_text(ended))
    event.actor_id = grant.actor_id
    return event
