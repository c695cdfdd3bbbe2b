"""Whose address counts as the client's."""

from __future__ import annotations

import pytest

from gateway.addresses import ClientAddresses, network_of

TRUSTED = ClientAddresses([network_of("10.0.0.0/8"), network_of("2001:db8::/32"), network_of("192.0.2.1")])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.7", None, "198.51.100.7"),
        # Not a proxy of ours: what it says does not count.
        ("198.51.100.7", b"1.1.1.1", "198.51.100.7"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", b"1.1.1.1", "1.1.1.1"),
        # What the client itself has written stands left of what a proxy of ours has added.
        ("10.0.0.1", b"6.6.6.6, 1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", b"6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1"),
        ("10.0.0.1", b"6.6.6.6, 10.9.9.9, 1.1.1.1, 192.0.2.1 , 10.0.0.2", "1.1.1.1"),
        ("10.0.0.1", b"10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", b"1.1.1.1:4711", "1.1.1.1"),
        ("10.0.0.1", b"[2001:4860::1]:443", "2001:4860::1"),
        ("10.0.0.1", b"2001:4860:0:0::1", "2001:4860::1"),
        ("10.0.0.1", b"unknown", "10.0.0.1"),
        ("10.0.0.1", b"1.1.1.1, _hidden, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", b"", "10.0.0.1"),
        ("10.0.0.1", b"1.1.1.1,", "10.0.0.1"),
        ("10.0.0.1", b"\xff\xfe", "10.0.0.1"),
        ("2001:db8::5", b"1.1.1.1", "1.1.1.1"),
        # IPv4 in IPv6 is IPv4.
        ("::ffff:10.0.0.1", b"1.1.1.1", "1.1.1.1"),
        ("::ffff:198.51.100.7", None, "198.51.100.7"),
        ("10.0.0.1", b"::ffff:1.1.1.1", "1.1.1.1"),
        ("fe80::1%eth0", None, "fe80::1"),
        # A Unix socket is a proxy on this machine.
        (None, b"1.1.1.1", "1.1.1.1"),
        (None, None, None),
    ],
)
def test_the_client_is_the_last_hop_that_is_not_trusted(peer: str | None, forwarded: bytes | None, client: str | None):
    assert TRUSTED.client(peer, forwarded) == client


def test_without_trusted_proxies_nothing_that_is_forwarded_counts():
    assert ClientAddresses([]).client("10.0.0.1", b"1.1.1.1") == "10.0.0.1"
    assert ClientAddresses([]).client(None, b"1.1.1.1") is None


def test_an_endless_header_is_read_from_its_end_only():
    forwarded = b", ".join([b"10.0.0.1"] * 10_000 + [b"1.1.1.1"])
    assert TRUSTED.client("10.0.0.1", forwarded) == "1.1.1.1"


def test_a_mapped_network_is_an_ipv4_network():
    assert str(network_of("::ffff:10.0.0.0/104")) == "10.0.0.0/8"
    assert str(network_of("10.1.2.3/8")) == "10.0.0.0/8"
    with pytest.raises(ValueError):
        network_of("10.0.0.0/33")
