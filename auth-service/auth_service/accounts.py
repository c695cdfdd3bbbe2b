"""Built-in accounts: making them, and showing them to themselves."""

from __future__ import annotations

import hmac

from auth_service import addresses, password_policy
from auth_service.auth_settings import LiveSettings
from auth_service.models import Identity, Role
from auth_service.passwords import Passwords
from auth_service.store import AuthStore
from fastcms_common import times
from fastcms_common.audit import AuditLog
from fastcms_common.context import BUILT_IN_REALM, Caller
from fastcms_common.errors import Conflict, Denied, Invalid, Unauthenticated
from fastcms_common.ids import new_id
from fastcms_common.storage import Duplicate, eq


class Accounts:
    """Built-in users."""

    def __init__(
        self, store: AuthStore, passwords: Passwords, settings: LiveSettings, audit: AuditLog, setup_token: str | None
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._settings = settings
        self._audit = audit
        self._setup_token = setup_token

    async def register(
        self, caller: Caller | None, email: str, password: str, name: str | None, role: str | None, setup_token: str
    ) -> Identity:
        """A new built-in user.

        While there is no admin anyone may make the first, who is a superadmin; from then on it takes an admin, and to
        make an admin a superadmin. Of many first registrations at once one makes the first admin, and the others find
        the door shut.
        """
        if not await self._store.any_admin():
            self._check_setup_token(setup_token)
            if role == "user":
                raise Invalid.field("role", "must be admin: the first account is an admin's")
            try:
                return await self.create(email, password, name, role="admin", founder=True)
            except Duplicate as taken:
                if taken.index != "founder":
                    raise
        wanted: Role = "user" if role == "user" else "admin"
        may_make(caller, wanted)
        return await self.create(email, password, name, role=wanted)

    async def setup_needed(self) -> bool:
        """Whether there is no admin yet."""
        return not await self._store.any_admin()

    @property
    def setup_token_required(self) -> bool:
        """Whether the first admin has to know the operator's token."""
        return self._setup_token is not None

    async def ensure_first_admin(self, email: str, password: str) -> None:
        """Makes the first admin where there is none; otherwise nothing happens."""
        if await self._store.any_admin():
            return
        try:
            await self.create(email, password, None, role="admin", founder=True)
        except (Duplicate, Conflict):
            if not await self._store.any_admin():
                raise

    async def create(
        self,
        email: str,
        password: str,
        name: str | None,
        *,
        role: Role,
        founder: bool = False,
        superadmin: bool = False,
        verified: bool = False,
    ) -> Identity:
        """Stores a built-in user. The founder is the first superadmin, of whom there is one ever.

        Invalid, Conflict (EMAIL_TAKEN), or Duplicate of `founder`.
        """
        email = addresses.parse(email)
        password_policy.check(password, email, self._settings.current)
        now = times.now_text()
        identity = Identity(
            id=new_id(),
            realm=BUILT_IN_REALM,
            email=email,
            email_key=addresses.key(email),
            name=(name or "").strip() or None,
            role=role,
            superadmin=founder or superadmin,
            founder=founder or None,
            # Whoever sets the system up has nobody to prove their address to.
            verified=founder or verified,
            password_hash=await self._passwords.hash(password),
            created=now,
            updated=now,
        )
        try:
            await self._store.add_identity(identity)
        except Duplicate as taken:
            if taken.index == "founder":
                raise
            raise email_taken() from None
        if founder:
            await self._store.join_superadmins(identity.id)
        await self._note_creation(identity)
        return identity

    async def _note_creation(self, identity: Identity) -> None:
        await self._audit.record(
            "user",
            "user_created",
            resource_type="user",
            resource_id=identity.id,
            user_email=identity.email,
            user_id=identity.id,
            description=f"Created the {'superadmin' if identity.superadmin else identity.role} {identity.email}",
            details={"role": identity.role, "superadmin": identity.superadmin, "realm": identity.realm},
        )

    async def rename(self, identity_id: str, name: str | None) -> Identity:
        """Gives a built-in user another name, or none."""
        changes = {"name": (name or "").strip() or None, "updated": times.now_text()}
        identity = await self._store.change_identity(identity_id, changes, where=eq("state", "active"))
        if identity is None:
            raise Unauthenticated("This account is gone.", reason="ACCOUNT_GONE")
        return identity

    def _check_setup_token(self, given: str) -> None:
        if self._setup_token is None:
            return
        if not hmac.compare_digest(self._setup_token.encode(), given.encode()):
            raise Denied("The first account needs the setup token.", reason="SETUP_TOKEN_REQUIRED")


def may_make(caller: Caller | None, role: Role) -> None:
    """Returns where `caller` may make an account of this role."""
    if caller is None:
        raise Unauthenticated("Registration is closed: it needs an admin's token.", reason="REGISTRATION_CLOSED")
    if not caller.is_admin:
        raise Denied("Only admins may do this.", reason="ADMIN_REQUIRED")
    if role == "admin" and not caller.superadmin:
        raise Denied("Only superadmins may make admins.", reason="SUPERADMIN_REQUIRED")


def email_taken(field: str = "email") -> Conflict:
    """The answer to an address that somebody of the realm has."""
    return Conflict(f"An account with this {field.replace('_', ' ')} exists already.", reason="EMAIL_TAKEN")
