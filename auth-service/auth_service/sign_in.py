"""Signing in: what every way of doing so ends with."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import timedelta

from auth_service import addresses, refresh_tokens, second_factors
from auth_service.access_tokens import AccessTokens
from auth_service.auth_settings import LiveSettings
from auth_service.impersonations import Impersonations
from auth_service.lockouts import Attempt, Lockouts
from auth_service.models import Identity
from auth_service.passwords import Passwords
from auth_service.profiles import Profiles
from auth_service.realms import EMAIL, Realm
from auth_service.second_factors import SecondFactors
from auth_service.sessions import Sessions
from auth_service.store import AuthStore
from fastcms_common.audit import AuditLog
from fastcms_common.context import Caller
from fastcms_common.errors import Denied, Invalid, Unauthenticated

_NOBODY = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session with its tokens. `user` is the person as the API shows them, JSON; `expires_in` is in seconds."""

    identity: Identity
    user: bytes
    session_id: str
    access_token: str
    refresh_token: str
    expires_in: int


class SignIn:
    """Passwords, refresh tokens and sign-outs."""

    def __init__(
        self,
        store: AuthStore,
        sessions: Sessions,
        passwords: Passwords,
        lockouts: Lockouts,
        tokens: AccessTokens,
        settings: LiveSettings,
        profiles: Profiles,
        factors: SecondFactors,
        impersonations: Impersonations,
        audit: AuditLog,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._passwords = passwords
        self._lockouts = lockouts
        self._tokens = tokens
        self._settings = settings
        self._profiles = profiles
        self._factors = factors
        self._impersonations = impersonations
        self._audit = audit

    async def with_password(self, realm: Realm, name: str, password: str, mfa_code: str | None) -> SignedIn:
        """Signs in with a password and what the realm knows its members by: an e-mail, or their `identity_field`.

        Raises Denied (ACCOUNT_LOCKED, PASSWORD_AUTH_DISABLED) or Unauthenticated: INVALID_CREDENTIALS is the same,
        after the same work, for an unknown name, a wrong password and a disabled account; MFA_REQUIRED and
        MFA_CODE_INVALID come after a right password only.
        """
        # Built-in users have no other way in: switching passwords off must not shut the last admin out.
        if not realm.built_in and not realm.settings(self._settings.current).password_auth_enabled:
            raise Denied("Signing in with a password is switched off here.", reason="PASSWORD_AUTH_DISABLED")
        try:
            identity = await self._lockouts.to_the_end(self._prove(realm, name, password, mfa_code))
        except Denied as refusal:
            if refusal.reason == "ACCOUNT_LOCKED":
                await self._note_failure(realm.id, name, "locked")
            raise
        await self._renew_hash(identity, password)
        return await self.finish(identity, "password")

    async def confirm(self, identity: Identity, password: str, field: str) -> None:
        """Returns where somebody who is signed in has shown that it is really them. A guess counts as in signing in.

        Raises Denied (ACCOUNT_LOCKED), Invalid naming `field` (INVALID_CREDENTIALS).
        """
        await self._lockouts.to_the_end(self._confirm(identity, password, field))

    async def _prove(self, realm: Realm, name: str, password: str, mfa_code: str | None) -> Identity:
        email_key = await self._email_key(realm, name)
        async with self._lockouts.attempt(realm.id, email_key) as attempt:
            identity = await self._store.identity_by_email(realm.id, email_key)
            matches = await self._passwords.verify(identity.password_hash if identity else None, password)
            if identity is None or not matches or not may_sign_in(identity):
                await self._refuse(attempt, realm.id, identity.email if identity else name, identity)
                raise wrong_credentials()
            await self._ask_second_factor(attempt, identity, mfa_code)
            await attempt.succeeded()
        return identity

    async def _confirm(self, identity: Identity, password: str, field: str) -> None:
        async with self._lockouts.attempt(identity.realm, identity.email_key) as attempt:
            if not await self._passwords.verify(identity.password_hash, password):
                await self._refuse(attempt, identity.realm, identity.email, identity)
                raise Invalid.field(field, "Is not the current password.", reason="INVALID_CREDENTIALS")
            await attempt.succeeded()

    async def confirm_code(self, identity: Identity, code: str) -> None:
        """Returns where somebody who is signed in has shown a good code of their second factor; it is spent.

        Raises Denied (ACCOUNT_LOCKED), Invalid (MFA_CODE_INVALID).
        """
        async with self._lockouts.attempt(identity.realm, identity.email_key) as attempt:
            if not await self._factors.spend(identity, code):
                await self._refuse(attempt, identity.realm, identity.email, identity, "wrong_second_factor")
                raise Invalid.field("code", "The code is not right.", reason="MFA_CODE_INVALID")
            await attempt.succeeded()

    async def with_proof(self, identity: Identity, method: str, mfa_code: str | None) -> SignedIn:
        """Signs in somebody who has proven who they are without a password; a second factor is still asked for."""
        async with self._lockouts.attempt(identity.realm, identity.email_key) as attempt:
            await self._ask_second_factor(attempt, identity, mfa_code)
            await attempt.succeeded()
        return await self.finish(identity, method)

    async def finish(self, identity: Identity, method: str) -> SignedIn:
        """Opens the session of someone who has proven all that there is to prove."""
        user = await self._profiles.user(identity)
        opened, refresh_token = await self._sessions.open(identity, self._idle)
        # A password changed or an account disabled since `identity` was read ended all sessions it could see; this one
        # it could not, so it is for us to look again.
        if not await self._store.note_login(identity):
            await self._sessions.end(opened, identity.id)
            raise wrong_credentials()
        await self._audit.record(
            "auth",
            "login",
            user_id=identity.id,
            user_email=identity.email,
            resource_type="session",
            resource_id=opened,
            description=f"Signed in with {method}",
            details={"method": method, "realm": identity.realm},
        )
        return self._signed_in(identity, user, opened, refresh_token)

    async def refresh(self, realm: Realm, refresh_token: str) -> SignedIn:
        """The next pair of tokens. Unauthenticated where the token is not good; a stolen one ends its session."""
        token = self._sessions.parse(refresh_token)
        session = await self._sessions.get(token.session_id)
        identity = await self._store.identity(session.user_id) if session else None
        if session is None or identity is None or not may_sign_in(identity) or session.realm != realm.id:
            raise refresh_tokens.invalid()
        # Before the token is used up: where the profile cannot be had the client may try again with the same token.
        user = await self._profiles.user(identity)
        outcome, successor = await self._sessions.rotate(token, identity.id, self._idle)
        if outcome == "theft":
            await self._audit.record(
                "security",
                "refresh_token_reused",
                severity="critical",
                user_id=identity.id,
                user_email=identity.email,
                resource_type="session",
                resource_id=session.id,
                description="A refresh token was used again: the session has been ended",
                outcome="failure",
            )
        if outcome in ("theft", "gone"):
            raise refresh_tokens.invalid()
        return self._signed_in(identity, user, session.id, successor)

    async def out(self, caller: Caller, refresh_token: str) -> None:
        """Ends the caller's session, and that of `refresh_token` where it is theirs too."""
        ends = {caller.session_id} if caller.session_id else set()
        if refresh_token:
            with contextlib.suppress(Unauthenticated):
                ends.add(self._sessions.parse(refresh_token).session_id)
        for session_id in ends:
            await self._sessions.end(session_id, caller.id)
        await self._audit.record(
            "auth", "logout", description="Signed out", resource_type="session", resource_id=caller.session_id
        )

    async def revoke(self, caller: Caller, session_id: str) -> bool:
        """Ends one of the caller's sessions; False where they have no such session."""
        if not await self._sessions.end(session_id, caller.id):
            return False
        await self._audit.record(
            "auth", "session_revoked", description="Ended a session", resource_type="session", resource_id=session_id
        )
        return True

    async def revoke_all(self, caller: Caller) -> None:
        """Ends all of the caller's sessions, this one included."""
        ended = await self._sessions.end_all(caller.id)
        await self._impersonations.end_of_actor(caller.id, "session_ended")
        await self._audit.record(
            "auth", "all_sessions_revoked", description="Ended all own sessions", details={"revoked": ended}
        )

    async def _email_key(self, realm: Realm, name: str) -> str:
        """Where the account is found that `name` means, and under what its failures are counted."""
        if realm.identity_field == EMAIL:
            return addresses.key(name)
        # One look-up here and one there, whether or not there is such a name.
        identity = await self._store.identity(await self._profiles.named(realm, name) or _NOBODY)
        if identity is not None and identity.realm == realm.id:
            return identity.email_key
        # No e-mail has a space in it: what is nobody's name is nobody's e-mail either.
        return f"{realm.identity_field} {name}"

    @property
    def _idle(self) -> timedelta:
        return timedelta(days=self._settings.current.refresh_token_expiry_days)

    def _signed_in(self, identity: Identity, user: bytes, session_id: str, refresh_token: str) -> SignedIn:
        lifetime = self._settings.current.token_expiry_hours * 3600
        access_token = self._tokens.for_session(identity, session_id, lifetime)
        return SignedIn(identity, user, session_id, access_token, refresh_token, lifetime)

    async def _ask_second_factor(self, attempt: Attempt, identity: Identity, code: str | None) -> None:
        if not identity.mfa_enabled:
            return
        if not code:
            raise second_factors.required()
        if not await self._factors.spend(identity, code):
            await self._refuse(attempt, identity.realm, identity.email, identity, "wrong_second_factor")
            raise second_factors.wrong()

    async def _refuse(
        self, attempt: Attempt, realm: str, email: str, identity: Identity | None, why: str = "wrong_credentials"
    ) -> None:
        locked_for = await attempt.failed()
        await self._note_failure(realm, email, why, identity)
        if locked_for is not None:
            await self._audit.record(
                "auth",
                "account_locked",
                severity="warning",
                user_id=identity.id if identity else None,
                user_email=email,
                description=f"Locked for {locked_for} seconds after too many failed sign-ins",
                details={"realm": realm, "seconds": locked_for},
                outcome="failure",
            )

    async def _note_failure(self, realm: str, email: str, why: str, identity: Identity | None = None) -> None:
        await self._audit.record(
            "auth",
            "login_failed",
            severity="warning",
            user_id=identity.id if identity else None,
            user_email=email,
            description="Sign-in failed",
            details={"realm": realm, "reason": why},
            outcome="failure",
        )

    async def _renew_hash(self, identity: Identity, password: str) -> None:
        if identity.password_hash is not None and self._passwords.outdated(identity.password_hash):
            renewed = {"password_hash": await self._passwords.hash(password)}
            await self._store.change_identity(identity.id, renewed, epoch=identity.epoch)


def may_sign_in(identity: Identity) -> bool:
    """Whether the account is whole and not disabled."""
    return identity.state == "active" and not identity.disabled


def wrong_credentials(detail: str = "Invalid e-mail or password.") -> Unauthenticated:
    """The one answer to a sign-in that fails."""
    return Unauthenticated(detail, reason="INVALID_CREDENTIALS")
