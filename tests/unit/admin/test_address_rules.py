"""Who is let in by which rules."""

from __future__ import annotations

import ipaddress
import random
import time

import pytest

from fastcms_common.address_rules import BLOCKED, NOT_ALLOWED, AddressRule, AddressRules, canonical_network


def block(cidr: str, reason: str | None = None, expires: float | None = None) -> AddressRule:
    return AddressRule(canonical_network(cidr), "block", reason, expires)


def allow(cidr: str, expires: float | None = None) -> AddressRule:
    return AddressRule(canonical_network(cidr), "allow", None, expires)


def test_without_rules_everyone_comes_in():
    rules = AddressRules()
    assert rules.refusal("192.0.2.1") is None
    assert rules.refusal("2001:db8::1") is None
    assert rules.refusal("no address") is None


def test_a_blocked_network_is_told_why_and_its_neighbours_are_not():
    rules = AddressRules([block("192.0.2.0/24", "spam")])
    assert rules.refusal("192.0.2.0") == "spam"
    assert rules.refusal("192.0.2.255") == "spam"
    assert rules.refusal("192.0.1.255") is None
    assert rules.refusal("192.0.3.0") is None


def test_a_block_without_a_reason_has_a_sentence():
    assert AddressRules([block("192.0.2.1")]).refusal("192.0.2.1") == BLOCKED


def test_an_allow_rule_closes_the_door_to_all_others_of_either_family():
    rules = AddressRules([allow("10.0.0.0/8")])
    assert rules.refusal("10.1.2.3") is None
    assert rules.refusal("11.0.0.1") == NOT_ALLOWED
    assert rules.refusal("2001:db8::1") == NOT_ALLOWED
    assert rules.refusal("no address") == NOT_ALLOWED


def test_the_longest_prefix_decides():
    rules = AddressRules([block("10.0.0.0/8", "all"), allow("10.1.0.0/16"), block("10.1.1.0/24", "lab")])
    assert rules.refusal("10.1.2.3") is None
    assert rules.refusal("10.1.1.3") == "lab"
    assert rules.refusal("10.2.0.1") == "all"


def test_at_the_same_prefix_a_block_comes_before_an_allow():
    rules = AddressRules([allow("10.0.0.0/8"), block("10.0.0.0/8", "no")])
    assert rules.refusal("10.0.0.1") == "no"


@pytest.mark.parametrize("cidr", ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201", "::ffff:192.0.2.0/120"])
@pytest.mark.parametrize("address", ["192.0.2.1", "::ffff:192.0.2.1", "::FFFF:C000:0201"])
def test_a_mapped_address_is_the_ipv4_address(cidr: str, address: str):
    assert AddressRules([block(cidr, "no")]).refusal(address) == "no"


def test_a_zone_in_the_address_of_a_client_does_not_matter():
    assert AddressRules([block("fe80::/10", "no")]).refusal("fe80::1%eth0") == "no"


def test_a_rule_counts_until_its_end_and_not_a_moment_longer():
    now = 100.0
    rules = AddressRules([block("192.0.2.0/24", "for now", 200.0), allow("198.51.100.0/24", 300.0)], lambda: now)
    assert rules.refusal("192.0.2.1") == "for now"
    assert rules.refusal("203.0.113.1") == NOT_ALLOWED
    now = 199.999
    assert rules.refusal("192.0.2.1") == "for now"
    now = 200.0
    assert rules.refusal("192.0.2.1") == NOT_ALLOWED
    now = 300.0
    assert rules.refusal("192.0.2.1") is None
    assert rules.refusal("203.0.113.1") is None


def test_what_an_ended_rule_hid_comes_to_light():
    now = 100.0
    rules = AddressRules([block("10.0.0.0/8", "all"), allow("10.1.0.0/16", 200.0)], lambda: now)
    assert rules.refusal("10.1.0.1") is None
    now = 200.0
    assert rules.refusal("10.1.0.1") == "all"


def test_of_two_rules_for_one_network_the_one_that_lives_longer_is_kept():
    now = 100.0
    rules = AddressRules([block("10.0.0.1", "short", 150.0), block("10.0.0.1", "long", 300.0)], lambda: now)
    now = 200.0
    assert rules.refusal("10.0.0.1") == "long"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.0.0.1", "10.0.0.1/32"),
        (" 10.0.0.0/8 ", "10.0.0.0/8"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_has_one_spelling(text: str, canonical: str):
    assert canonical_network(text) == canonical


@pytest.mark.parametrize(
    "text", ["", "10.0.0.1/8", "10.0.0.0/33", "300.0.0.1", "10.0.0", "2001:db8::/129", "fe80::1%eth0", "all", "1e1"]
)
def test_what_is_no_network_is_refused(text: str):
    with pytest.raises(ValueError):
        canonical_network(text)


def test_ten_thousand_rules_cost_no_more_than_five_microseconds_a_question():
    chance = random.Random(4711)
    rules = [
        AddressRule(str(ipaddress.ip_network((chance.getrandbits(bits), length), strict=False)), kind)
        for bits, shortest in ((32, 8), (128, 16))
        for length, kind in ((chance.randint(shortest, bits), chance.choice(["allow", "block"])) for _ in range(5_000))
    ]
    compiled = AddressRules(rules)
    # Nobody asks twice: the memory of answers is of no help.
    strangers = [str(ipaddress.ip_address(chance.getrandbits(bits))) for bits in (32, 128) for _ in range(3_000)]

    def seconds() -> float:
        # What this thread has worked, not what it has waited for others to work.
        started = time.thread_time()
        for address in strangers:
            compiled.refusal(address)
        return (time.thread_time() - started) / len(strangers)

    # The best of several: a busy machine makes it look slower, never faster.
    assert min(seconds() for _ in range(7)) < 5e-6
