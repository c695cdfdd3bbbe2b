"""Changing passwords and addresses, and the codes and links that stand in for a password."""

from __future__ import annotations

from auth_service import addresses, mail_tokens, password_policy
from auth_service.accounts import email_taken
from auth_service.auth_settings import LiveSettings
from auth_service.impersonations import Impersonations
from auth_service.lockouts import Lockouts
from auth_service.mail_requests import MailRequests
from auth_service.mail_tokens import MailTokens
from auth_service.models import Identity
from auth_service.one_time_codes import OneTimeCodes
from auth_service.passwords import Passwords
from auth_service.profiles import Profiles
from auth_service.realms import Realm
from auth_service.sessions import Sessions
from auth_service.sign_in import SignedIn, SignIn, may_sign_in, wrong_credentials
from auth_service.store import AuthStore
from fastcms_common.audit import AuditLog
from fastcms_common.errors import Conflict, Denied, TimedOut, Unavailable
from fastcms_common.storage import Duplicate


class Credentials:
    """What people prove themselves with."""

    def __init__(
        self,
        store: AuthStore,
        sessions: Sessions,
        passwords: Passwords,
        lockouts: Lockouts,
        settings: LiveSettings,
        profiles: Profiles,
        tokens: MailTokens,
        codes: OneTimeCodes,
        requests: MailRequests,
        sign_in: SignIn,
        impersonations: Impersonations,
        audit: AuditLog,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._passwords = passwords
        self._lockouts = lockouts
        self._settings = settings
        self._profiles = profiles
        self._tokens = tokens
        self._codes = codes
        self._requests = requests
        self._sign_in = sign_in
        self._impersonations = impersonations
        self._audit = audit

    async def change_password(self, identity: Identity, current: str, new: str, session_id: str | None) -> None:
        """Sets a new password and ends all sessions but `session_id`.

        Raises Invalid (INVALID_CREDENTIALS, PASSWORD_POLICY, PASSWORD_REUSED), Denied (ACCOUNT_LOCKED).
        """
        await self._sign_in.confirm(identity, current, "current_password")
        changes = await self.new_password(identity, new)
        changed = await self._store.change_credentials(identity.id, changes | {"mail_tokens": {}}, epoch=identity.epoch)
        if changed is None:
            raise Conflict("The account was changed meanwhile. Try again.", reason="ACCOUNT_CHANGED")
        await self._after_password(identity, "password_changed", "Changed the password", keep=session_id)

    async def reset_password(self, realm: Realm, token: str, new: str) -> None:
        """Sets a new password by a token from a mail, opens the account's lock, ends all sessions."""
        identity, _ = await self._tokens.holder(realm, "password_reset", token)
        changes = await self.new_password(identity, new)
        changed = await self._store.use_mail_token(
            identity.id, "password_reset", mail_tokens.hash_of(token), changes, new_epoch=True
        )
        if changed is None:
            raise mail_tokens.bad_token()
        await self._lockouts.clear(identity.realm, identity.email_key)
        await self._after_password(identity, "password_reset", "Reset the password by mail", keep=None)

    async def new_password(self, identity: Identity, password: str) -> dict[str, object]:
        """The changes of an identity that give it `password`: hash, and the hashes to remember.

        Raises Invalid (PASSWORD_POLICY, PASSWORD_REUSED).
        """
        settings = self._settings.current
        password_policy.check(password, identity.email, settings, field="new_password")
        before = [one for one in (identity.password_hash, *identity.password_history) if one]
        # The one in use counts as one of the N.
        remembered = before[: settings.password_history_count]
        if await self._passwords.verify_any(remembered, password):
            raise password_policy.reused()
        return {
            "password_hash": await self._passwords.hash(password),
            "password_history": before[: max(settings.password_history_count - 1, 0)],
        }

    async def verify_email(self, realm: Realm, token: str) -> Identity:
        """Marks an address as its owner's by a token from a mail."""
        identity, _ = await self._tokens.holder(realm, "verification", token)
        changes = {"verified": True, "profile_stale": not realm.built_in}
        changed = await self._store.use_mail_token(identity.id, "verification", mail_tokens.hash_of(token), changes)
        if changed is None:
            raise mail_tokens.bad_token()
        await self._note(changed, "email_verified", f"Verified {changed.email}")
        await self.give_profile(changed)
        return changed

    async def request_email_change(self, realm: Realm, identity: Identity, new_email: str, password: str) -> None:
        """Asks for the mails that change an address. Invalid for no address, and as `confirm` raises."""
        new_email = addresses.parse(new_email, "new_email")
        await self._sign_in.confirm(identity, password, "password")
        await self._requests.put("email_change", realm, new_email, identity.id)
        await self._note(identity, "email_change_requested", "Asked to change the e-mail address")

    async def change_email(self, realm: Realm, token: str) -> Identity:
        """Changes an address by the token that was sent to the new one. Conflict (EMAIL_TAKEN)."""
        identity, live = await self._tokens.holder(realm, "email_change", token)
        changes = {
            "email": live.email,
            "email_key": addresses.key(live.email),
            "verified": True,
            "profile_stale": not realm.built_in,
        }
        try:
            changed = await self._store.use_mail_token(identity.id, "email_change", mail_tokens.hash_of(token), changes)
        except Duplicate:
            raise email_taken() from None
        if changed is None:
            raise mail_tokens.bad_token()
        await self._codes.revoke(identity.realm, identity.email_key)
        await self._note(changed, "email_changed", f"Changed the e-mail address from {identity.email}")
        await self.give_profile(changed)
        return changed

    async def sign_in_with_code(self, realm: Realm, email: str, code: str, mfa_code: str | None) -> SignedIn:
        """Signs in with a one-time code. A second factor is still asked for, and asking for it does not use the code
        up. Raises Denied (OTP_DISABLED), Unauthenticated."""
        self.check_codes_on(realm)
        email_key = addresses.key(email)
        identity = await self._store.identity_by_email(realm.id, email_key)
        use = identity is None or not identity.mfa_enabled or bool(mfa_code)
        good = await self._codes.check(realm.id, email_key, code, use=use)
        if not good or identity is None or not may_sign_in(identity):
            await self._audit.record(
                "auth",
                "login_failed",
                severity="warning",
                user_id=identity.id if identity else None,
                user_email=email,
                description="Sign-in with a one-time code failed",
                details={"realm": realm.id, "reason": "wrong_code"},
                outcome="failure",
            )
            raise wrong_credentials("Invalid e-mail or code.")
        return await self._sign_in.with_proof(identity, "a one-time code", mfa_code)

    def check_codes_on(self, realm: Realm) -> None:
        """Returns where one-time codes may be used in this realm. Denied (OTP_DISABLED)."""
        if not realm.settings(self._settings.current).otp_enabled:
            raise Denied("One-time codes are switched off.", reason="OTP_DISABLED")

    async def give_profile(self, identity: Identity) -> None:
        """Gives the profile what the identity has; where that cannot be done now, the reconciling job does it."""
        if identity.built_in:
            return
        try:
            await self._profiles.update(identity)
        except (Unavailable, TimedOut):
            return
        await self._store.profile_given(identity)

    async def _after_password(self, identity: Identity, action: str, description: str, keep: str | None) -> None:
        await self._codes.revoke(identity.realm, identity.email_key)
        await self._sessions.end_all(identity.id, keep=keep)
        await self._impersonations.end_of_actor(identity.id, "session_ended")
        await self._note(identity, action, description)

    async def _note(self, identity: Identity, action: str, description: str) -> None:
        await self._audit.record(
            "user",
            action,
            user_id=identity.id,
            user_email=identity.email,
            resource_type="user",
            resource_id=identity.id,
            description=description,
        )
