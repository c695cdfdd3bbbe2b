"""The compiled rules say what going through them one by one says."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from fastcms_common.address_rules import BLOCKED, NOT_ALLOWED, AddressRule, AddressRules

# Few bits vary, so that networks enclose one another and addresses hit them.
_v4 = st.builds(lambda low, high: f"10.{high}.0.{low}", st.integers(0, 255), st.integers(0, 3))
_v6 = st.builds(lambda low, high: f"2001:db8:{high:x}::{low:x}", st.integers(0, 255), st.integers(0, 3))
_edges = st.sampled_from(["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"])
addresses = st.one_of(_v4, _v6, _edges)


@st.composite
def rules(draw: st.DrawFn) -> AddressRule:
    address = draw(addresses)
    length = draw(st.integers(0, 128 if ":" in address else 32))
    network = ipaddress.ip_network(f"{address}/{length}", strict=False)
    kind = draw(st.sampled_from(["allow", "block"]))
    return AddressRule(str(network), kind, None, draw(st.sampled_from([None, 50.0, 150.0, 151.0])))


def judged_one_by_one(rules: list[AddressRule], address: str, now: float) -> str | None:
    alive = [rule for rule in rules if rule.expires is None or now < rule.expires]
    ip = ipaddress.ip_address(address)
    holding = [rule for rule in alive if ip in ipaddress.ip_network(rule.cidr)]
    if holding:
        longest = max(int(rule.cidr.partition("/")[2]) for rule in holding)
        decisive = {rule.rule_type for rule in holding if int(rule.cidr.partition("/")[2]) == longest}
        return BLOCKED if "block" in decisive else None
    return NOT_ALLOWED if any(rule.rule_type == "allow" for rule in alive) else None


@given(st.lists(rules(), max_size=12), st.lists(addresses, min_size=1, max_size=12))
def test_the_compiled_rules_judge_as_the_rules_one_by_one(given_rules: list[AddressRule], asked: list[str]):
    now = 100.0
    compiled = AddressRules(given_rules, lambda: now)
    for moment in (100.0, 150.0, 200.0):
        now = moment
        for address in asked:
            assert compiled.refusal(address) == judged_one_by_one(given_rules, address, now)
