"""Which addresses may come in: the rules as they are kept. What they mean is in `fastcms_common.address_rules`.

Storage holds the truth; the gateway reads a copy in Redis (`ip_rules_copy.py`), so that rules stay in force while this
service is away.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from admin_service.audit_trail import AuditTrail
from admin_service.ip_rules_copy import IpRulesCopy, as_rule
from admin_service.store import AdminStore
from fastcms_common import times
from fastcms_common.address_rules import AddressRules, canonical_network
from fastcms_common.context import current
from fastcms_common.errors import Conflict, Invalid, NotFound
from fastcms_common.ids import new_id
from fastcms_common.storage import Document, Duplicate

MAX_RULES = 10_000
_CLEANUP = "cleanup_expired_ip_rules"


class IpRules:
    """Reading and changing the rules. A rule is a document: `id, cidr, rule_type, reason, expires_at, created,
    created_by`, times as canonical text."""

    def __init__(self, store: AdminStore, copy: IpRulesCopy, trail: AuditTrail) -> None:
        self._store = store
        self._copy = copy
        self._trail = trail

    async def page(self, rule_type: str, page: int, per_page: int) -> tuple[list[Document], int]:
        """The rules of a type (of both where it is empty), the newest first, and how many there are."""
        return await self._store.ip_rules_page(rule_type or None, per_page, (page - 1) * per_page)

    async def get(self, rule_id: str) -> Document:
        """NotFound where there is none."""
        rule = await self._store.ip_rule(rule_id)
        if rule is None:
            raise NotFound("There is no such IP rule.", reason="IP_RULE_NOT_FOUND")
        return rule

    async def create(
        self,
        cidr: str,
        rule_type: Literal["allow", "block"],
        reason: str | None,
        expires: datetime | None,
        force: bool,
    ) -> Document:
        """Makes a rule. Raises Invalid; Conflict where it is there already, or would shut out the caller (SELF_LOCKOUT)
        and is not forced."""
        try:
            network = canonical_network(cidr)
        except ValueError:
            raise Invalid.field("cidr", "Must be a network such as 192.0.2.0/24 or 2001:db8::/32.") from None
        now = times.now()
        if expires is not None and expires <= now:
            raise Invalid.field("expires_at", "Must be in the future.")
        caller = current().caller
        rule: Document = {
            "id": new_id(),
            "cidr": network,
            "rule_type": rule_type,
            "reason": reason or None,
            "expires_at": times.to_text(expires) if expires is not None else None,
            "created": times.to_text(now),
            "created_by": caller.id if caller is not None else None,
        }
        others = await self._store.ip_rules()
        if not force:
            _refuse_lockout(others, [*others, rule])
        if len(others) >= MAX_RULES:
            raise Conflict(f"There may be at most {MAX_RULES} IP rules.", reason="TOO_MANY_IP_RULES")
        await self._insert(rule, times.to_text(now))
        await self._copy.changed(set_=[rule])
        await self._record("ip_rule_created", f"{rule_type.capitalize()} rule for {network} made.", rule)
        return rule

    async def delete(self, rule_id: str, force: bool) -> None:
        """Removes a rule. Raises NotFound; Conflict where that would shut out the caller and is not forced."""
        rule = await self.get(rule_id)
        if not force:
            others = await self._store.ip_rules()
            _refuse_lockout(others, [other for other in others if other["id"] != rule_id])
        if not await self._store.delete_ip_rule(rule_id):
            raise NotFound("There is no such IP rule.", reason="IP_RULE_NOT_FOUND")
        await self._copy.changed(removed=[rule_id])
        await self._record(
            "ip_rule_deleted", f"{rule['rule_type'].capitalize()} rule for {rule['cidr']} removed.", rule
        )

    async def delete_expired(self, fencing_token: int) -> int:
        """Drops the rules whose time is over; how many. Raises Conflict for a job that has lost its lease."""
        if not await self._store.pass_fence(_CLEANUP, fencing_token):
            raise Conflict("Another run of this job has taken over.", reason="LEASE_LOST")
        over = await self._store.delete_expired_ip_rules(times.now_text())
        if over:
            await self._copy.changed(removed=over)
        return len(over)

    async def _insert(self, rule: Document, now: str) -> None:
        try:
            await self._store.add_ip_rule(rule)
        except Duplicate:
            # The one that is there may be over and only not cleaned up yet.
            stale = await self._store.delete_expired_ip_rules(now, rule["cidr"])
            try:
                await self._store.add_ip_rule(rule)
            except Duplicate:
                raise Conflict(
                    f"There is a rule of this type for {rule['cidr']} already.", reason="IP_RULE_EXISTS"
                ) from None
            await self._copy.changed(removed=stale)

    async def _record(self, action: str, description: str, rule: Document) -> None:
        await self._trail.record(
            "security",
            action,
            severity="warning",
            resource_type="ip_rule",
            resource_id=rule["id"],
            description=description,
            details={name: rule.get(name) for name in ("cidr", "rule_type", "reason", "expires_at")},
        )


def _refuse_lockout(before: list[Document], after: list[Document]) -> None:
    address = current().client_ip
    if address is None:
        return
    # Whoever is out already, and got here all the same, is not shut out by this.
    inside_now = AddressRules(map(as_rule, before)).refusal(address) is None
    if inside_now and AddressRules(map(as_rule, after)).refusal(address) is not None:
        raise Conflict(
            f"This would shut out your own address {address}. Repeat it with force=true if that is what you want.",
            reason="SELF_LOCKOUT",
        )
