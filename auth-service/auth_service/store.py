"""Every query of auth-service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from auth_service.migrations import MIGRATIONS
from auth_service.models import Identity, MailToken, PendingMail, SigningKey, to_document
from auth_service.oauth_store import LINKS
from fastcms_common import times
from fastcms_common.context import BUILT_IN_REALM
from fastcms_common.storage import (
    ALL,
    And,
    Change,
    Compare,
    Document,
    Duplicate,
    Field,
    Index,
    Not,
    Query,
    Sort,
    Store,
    Table,
    Value,
    eq,
    gt,
    has,
    le,
    lt,
)
from fastcms_common.storage.migrations import migrate

IDENTITIES = Table(
    "identities",
    (
        Index(("realm", "email_key"), unique=True, required=True, name="address"),
        Index("founder", unique=True, name="founder"),
        Index(("state", "updated"), name="state_updated"),
        # What admins sort and filter their list by: each page is a stretch of one of these.
        Index(("state", "created"), name="state_created"),
        Index(("state", "email"), name="state_email"),
        Index(("state", "name"), name="state_name"),
        Index(("state", "last_login"), name="state_last_login"),
        Index(("state", "role", "created"), name="state_role_created"),
        Index(("state", "verified", "created"), name="state_verified_created"),
        Index(("realm", "state", "created"), name="realm_state_created"),
        Index("profile_stale", name="profile_stale"),
    ),
    scalars=("role", "superadmin", "verified", "disabled", "email", "name", "last_login", "epoch", "pending_until"),
)
SIGNING_KEYS = Table("signing_keys", (Index("kid", unique=True),))
MAILS = Table("mails", (Index("due"),))
FENCES = Table("fences")
GUARDS = Table("guards")
SETTINGS = Table("settings")
_SUPERADMINS = "superadmins"
# Where the sealed secret of each stands.
_SECRETS = {
    SigningKey: (SIGNING_KEYS, "private"),
    Identity: (IDENTITIES, "second_factor.secret"),
    PendingMail: (MAILS, "message"),
}


class AuthStore:
    """What auth-service keeps: identities, mails, signing keys."""

    def __init__(self, store: Store) -> None:
        self.storage = store

    async def prepare(self) -> None:
        """Makes the tables and indexes that are missing, and the data what this release works on. DataTooNew."""
        for table in (IDENTITIES, LINKS, SIGNING_KEYS, MAILS, FENCES, GUARDS, SETTINGS):
            await self.storage.ensure(table)
        await migrate(self.storage, MIGRATIONS)

    async def ping(self) -> None:
        """Unavailable unless the database answers."""
        await self.storage.ping()

    async def close(self) -> None:
        """Lets go of the database."""
        await self.storage.close()

    # -- identities -----------------------------------------------------------------------------------------------

    async def add_identity(self, identity: Identity) -> None:
        """Raises Duplicate with the index `address` or `founder`."""
        await self.storage.insert(IDENTITIES.name, to_document(identity))

    async def identity(self, identity_id: str) -> Identity | None:
        """Of whatever realm and state."""
        return _identity(await self.storage.get(IDENTITIES.name, identity_id))

    async def identity_by_email(self, realm: str, email_key: str) -> Identity | None:
        """Of whatever state."""
        where = And(eq("realm", realm), eq("email_key", email_key))
        return _identity(await self.storage.first(IDENTITIES.name, where))

    async def realms_of(self, email_key: str) -> set[str]:
        """The realms in which somebody has this address. Reads all identities: no index leads with the address."""
        found = await self.storage.find(IDENTITIES.name, eq("email_key", email_key), fields=["realm"])
        return {one["realm"] for one in found}

    async def change_identity(
        self, identity_id: str, changes: dict[str, Any], *, epoch: int | None = None, where: Query = ALL
    ) -> Identity | None:
        """Sets these fields; the identity after it, or None where it is gone, does not match `where`, or its epoch is
        not `epoch` any more. Raises Duplicate."""
        if epoch is not None:
            where = And(where, eq("epoch", epoch))
        return _identity(await self.storage.update(IDENTITIES.name, identity_id, Change(set=changes), where))

    async def change_credentials(
        self, identity_id: str, changes: dict[str, Any], *, epoch: int, where: Query = ALL
    ) -> Identity | None:
        """`change_identity` for what sessions must not outlive: the epoch goes up."""
        changes = changes | {"updated": times.now_text(), "epoch": epoch + 1}
        return await self.change_identity(identity_id, changes, epoch=epoch, where=where)

    async def activate(self, identity_id: str) -> Identity | None:
        """Ends a registration well; None where it was given up meanwhile."""
        changes = {"state": "active", "pending_until": None}
        return await self.change_identity(identity_id, changes, where=eq("state", "pending"))

    async def lapse(self, identity_id: str) -> None:
        """Gives a registration up now."""
        changes = {"pending_until": times.now_text()}
        await self.change_identity(identity_id, changes, where=eq("state", "pending"))

    async def begin_undoing(self, identity: Identity) -> Identity | None:
        """Claims a registration that was given up, to remove what there is of it; None where it is not (any more)."""
        given_up = And(eq("state", "pending"), le("pending_until", times.now_text()))
        changes = {"state": "deleting", "updated": times.now_text()}
        return await self.change_identity(identity.id, changes, where=given_up)

    async def halfway(self, before: str) -> list[Identity]:
        """Registrations given up, and removals that have not moved since `before`."""
        pending = And(eq("state", "pending"), le("pending_until", times.now_text()))
        deleting = And(eq("state", "deleting"), le("updated", before))
        found = await self.storage.find(IDENTITIES.name, pending) + await self.storage.find(IDENTITIES.name, deleting)
        return [msgspec.convert(one, Identity) for one in found]

    async def note_login(self, identity: Identity) -> bool:
        """Sets the time of the last sign-in. False where the account has changed since `identity` was read so that a
        sign-in begun then must not finish."""
        still = And(eq("state", "active"), eq("disabled", False))
        changes = {"last_login": times.now_text()}
        return await self.change_identity(identity.id, changes, epoch=identity.epoch, where=still) is not None

    # -- mailed tokens --------------------------------------------------------------------------------------------

    async def set_mail_token(self, identity: Identity, purpose: str, token: MailToken) -> bool:
        """Puts it in the place of the one before. False where the account is gone, or has another address by now: the
        mail goes to the one that was read."""
        changes = {f"mail_tokens.{purpose}": to_document(token)}
        where = And(eq("state", "active"), eq("email_key", identity.email_key))
        return await self.change_identity(identity.id, changes, where=where) is not None

    async def use_mail_token(
        self, identity_id: str, purpose: str, token_hash: str, changes: dict[str, Any], *, new_epoch: bool = False
    ) -> Identity | None:
        """What the token is for, and the end of it, in one step. All mailed tokens of the account are void afterwards.

        None where it has been used, replaced or run out. Raises Duplicate where an address in `changes` is taken.
        """
        path = f"mail_tokens.{purpose}"
        live = And(eq(f"{path}.hash", token_hash), gt(f"{path}.expires", times.now_text()), eq("state", "active"))
        change = Change(
            set=changes | {"mail_tokens": {}, "updated": times.now_text()}, inc={"epoch": 1} if new_epoch else {}
        )
        return _identity(await self.storage.update(IDENTITIES.name, identity_id, change, live))

    async def delete_expired_mail_tokens(self) -> int:
        """Drops those that have run out; how many."""
        deleted, now = 0, times.now_text()
        for purpose in ("password_reset", "verification", "email_change"):
            expired = le(f"mail_tokens.{purpose}.expires", now)
            deleted += await self.storage.update_many(
                IDENTITIES.name, expired, Change(unset=[f"mail_tokens.{purpose}"])
            )
        return deleted

    async def profile_given(self, identity: Identity) -> None:
        """Takes note that the profile has what the identity had when it was read."""
        where = And(eq("email", identity.email), eq("verified", identity.verified))
        await self.change_identity(identity.id, {"profile_stale": False}, where=where)

    # -- mails ----------------------------------------------------------------------------------------------------

    async def add_mail(self, mail: PendingMail) -> None:
        """Keeps a mail until it is handed over."""
        await self.storage.insert(MAILS.name, to_document(mail))

    async def due_mails(self, now: str) -> list[str]:
        """The ids of the mails to try, the longest waiting first."""
        found = await self.storage.find(MAILS.name, le("due", now), sort=[("due", 1)], limit=200, fields=[])
        return [one["id"] for one in found]

    async def claim_mail(self, mail_id: str, now: str, until: str) -> PendingMail | None:
        """The mail, counted as tried and nobody else's until `until`; None where it is gone or another's."""
        change = Change(set={"due": until}, inc={"attempts": 1})
        document = await self.storage.update(MAILS.name, mail_id, change, le("due", now))
        return None if document is None else msgspec.convert(document, PendingMail)

    async def pending_mails(self) -> int:
        """How many mails wait, tried before or not."""
        return await self.storage.count(MAILS.name)

    async def put_off_mail(self, mail_id: str, due: str) -> None:
        """Has it tried again at `due`."""
        await self.storage.update(MAILS.name, mail_id, Change(set={"due": due}))

    async def delete_mail(self, mail_id: str) -> None:
        """It has been handed over, or given up."""
        await self.storage.delete(MAILS.name, mail_id)

    # -- second factors -------------------------------------------------------------------------------------------

    async def begin_second_factor(self, identity_id: str, factor: dict[str, Any]) -> bool:
        """Puts it in the place of one that is not enabled. False where one is."""
        changes = {"second_factor": factor, "updated": times.now_text()}
        where = Not(eq("second_factor.enabled", True))
        return await self.change_identity(identity_id, changes, where=where) is not None

    async def drop_second_factor(self, identity_id: str) -> None:
        """Whatever there was."""
        await self.change_identity(identity_id, {"second_factor": None, "updated": times.now_text()})

    async def renew_recovery_codes(self, identity_id: str, hashes: list[str]) -> bool:
        """Puts them in the place of those that are left. False where no second factor is enabled (any more)."""
        changes = {"second_factor.recovery_codes": hashes}
        return await self.change_identity(identity_id, changes, where=eq("second_factor.enabled", True)) is not None

    async def enable_second_factor(self, identity: Identity, secret: str, changes: dict[str, Any]) -> bool:
        """Changes the second factor if it still has this (sealed) secret and is not enabled."""
        where = And(eq("second_factor.secret", secret), eq("second_factor.enabled", False))
        under = {f"second_factor.{name}": value for name, value in changes.items()}
        return await self.change_identity(identity.id, under | {"updated": times.now_text()}, where=where) is not None

    async def spend_step(self, identity_id: str, step: int) -> bool:
        """Spends a time step and all before it. False where that has been done."""
        where = And(eq("second_factor.enabled", True), lt("second_factor.last_step", step))
        return await self.change_identity(identity_id, {"second_factor.last_step": step}, where=where) is not None

    async def spend_recovery_code(self, identity_id: str, code_hash: str) -> bool:
        """Takes a recovery code away. False where it is gone."""
        path = "second_factor.recovery_codes"
        change = Change(remove={path: [code_hash]})
        spent = await self.storage.update(IDENTITIES.name, identity_id, change, has(path, code_hash))
        return spent is not None

    # -- who there is ---------------------------------------------------------------------------------------------

    async def any_admin(self) -> bool:
        """Whether a built-in admin exists."""
        where = And(eq("realm", BUILT_IN_REALM), eq("role", "admin"))
        return await self.storage.count(IDENTITIES.name, where, limit=1) > 0

    def members(self, realm: str) -> AsyncIterator[Identity]:
        """All active identities of a realm."""
        return self.scan_identities(And(eq("realm", realm), eq("state", "active")))

    def stale_profiles(self) -> AsyncIterator[Identity]:
        """Those whose profile lacks their e-mail or `verified`."""
        return self.scan_identities(And(eq("profile_stale", True), eq("state", "active")))

    # One document says who the superadmins are that can sign in, so that two who remove each other at the same moment
    # cannot both be right.

    async def register_superadmins(self) -> None:
        """Puts into the register whom a crash has left out of it."""
        where = And(eq("realm", BUILT_IN_REALM), eq("superadmin", True), eq("disabled", False), eq("state", "active"))
        ids = [one["id"] for one in await self.storage.find(IDENTITIES.name, where, fields=[])]
        if not await self.storage.update(GUARDS.name, _SUPERADMINS, Change(add_to_set={"ids": ids})):
            try:
                await self.storage.insert(GUARDS.name, {"id": _SUPERADMINS, "ids": ids})
            except Duplicate:
                await self.storage.update(GUARDS.name, _SUPERADMINS, Change(add_to_set={"ids": ids}))

    async def join_superadmins(self, identity_id: str) -> None:
        """Counts somebody in."""
        if not await self.storage.update(GUARDS.name, _SUPERADMINS, Change(add_to_set={"ids": [identity_id]})):
            await self.register_superadmins()

    async def leave_superadmins(self, identity_id: str) -> bool:
        """Counts somebody out. False where nobody else would be left."""
        if await self.storage.get(GUARDS.name, _SUPERADMINS) is None:
            await self.register_superadmins()
        others = Compare(Field("ids", length=True), ">", Value(1))
        change = Change(remove={"ids": [identity_id]})
        if await self.storage.update(GUARDS.name, _SUPERADMINS, change, And(has("ids", identity_id), others)):
            return True
        return await self.storage.first(GUARDS.name, And(eq("id", _SUPERADMINS), has("ids", identity_id))) is None

    async def identities(self, where: Query, sort: Sort, page: int, per_page: int) -> tuple[list[Identity], int]:
        """One page of the identities, and how many there are. Read from whichever end is nearer: databases walk over
        all that they skip."""
        total = await self.storage.count(IDENTITIES.name, where)
        first = (page - 1) * per_page
        limit = min(per_page, total - first)
        if limit <= 0:
            return [], total
        behind = total - first - limit
        if behind >= first:
            documents = await self.storage.find(IDENTITIES.name, where, sort=sort, limit=limit, offset=first)
        else:
            back: Sort = [(path, -1 if way > 0 else 1) for path, way in sort]
            documents = await self.storage.find(IDENTITIES.name, where, sort=back, limit=limit, offset=behind)
            documents.reverse()
        return [msgspec.convert(one, Identity) for one in documents], total

    async def scan_identities(self, where: Query = ALL) -> AsyncIterator[Identity]:
        """All of them that match."""
        async for document in self.storage.scan(IDENTITIES.name, where):
            yield msgspec.convert(document, Identity)

    async def delete_identity(self, identity_id: str) -> None:
        """Removes it, and before it what links it to providers: that tells whose it was."""
        await self.storage.delete_many(LINKS.name, eq("identity_id", identity_id))
        await self.storage.delete(IDENTITIES.name, identity_id)

    # -- signing keys ---------------------------------------------------------------------------------------------

    async def signing_keys(self) -> list[SigningKey]:
        """All of them, the oldest first."""
        documents = await self.storage.find(SIGNING_KEYS.name, sort=[("id", 1)])
        return [msgspec.convert(one, SigningKey) for one in documents]

    async def add_signing_key(self, key: SigningKey) -> bool:
        """False where another replica has made the key of this number already."""
        try:
            await self.storage.insert(SIGNING_KEYS.name, to_document(key))
        except Duplicate:
            return False
        return True

    async def delete_signing_key(self, key_id: str) -> None:
        """Nothing happens where it is gone."""
        await self.storage.delete(SIGNING_KEYS.name, key_id)

    # -- settings -------------------------------------------------------------------------------------------------

    async def settings(self, category: str) -> dict[str, Any]:
        """What has been changed of a category's settings."""
        document = await self.storage.get(SETTINGS.name, category)
        return {} if document is None else document["values"]

    async def change_settings(self, category: str, values: dict[str, Any]) -> None:
        """Changes these, and leaves what others change at the same moment."""
        change = Change(set={("values", name): value for name, value in values.items()})
        while await self.storage.update(SETTINGS.name, category, change) is None:
            try:
                await self.storage.insert(SETTINGS.name, {"id": category, "values": values})
            except Duplicate:
                continue
            return

    # -- what is sealed --------------------------------------------------------------------------------------------

    async def sealed_mails(self) -> list[PendingMail]:
        """Those that wait, whenever they are due."""
        return [msgspec.convert(one, PendingMail) for one in await self.storage.find(MAILS.name)]

    async def swap_secret(self, of: SigningKey | Identity | PendingMail, before: str, after: str) -> bool:
        """Puts a secret that is sealed anew in the place of the one that was read; False where that has gone."""
        table, path = _SECRETS[type(of)]
        change = Change(set={path: after})
        return await self.storage.update(table.name, of.id, change, eq(path, before)) is not None

    # -- jobs -----------------------------------------------------------------------------------------------------

    async def pass_fence(self, job: str, token: int) -> bool:
        """Whether `token` is at least as high as any that `job` has shown; remembers it."""
        for _ in range(2):
            if await self.storage.update(FENCES.name, job, Change(set={"token": token}), le("token", token)):
                return True
            try:
                await self.storage.insert(FENCES.name, {"id": job, "token": token})
            except Duplicate:
                # A higher one is there, or one that was made between the two questions: ask once more.
                continue
            return True
        return False


def _identity(document: Document | None) -> Identity | None:
    return None if document is None else msgspec.convert(document, Identity)
