"""Where HTTP jobs may go."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from scheduler_service.http_targets import choose, is_public, parse_url

NOBODY: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
     "169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::",
     "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
     "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::", "2001:db8::1",
     "2001::1", "fec0::1", "64:ff9b:1::1", "192.0.0.192", "192.88.99.1", "168.63.129.16", "::ffff:168.63.129.16",
     "3fff::1", "::ffff:0:7f00:1", "100.100.100.200"],
)  # fmt: skip
def test_no_address_within_is_public(address: str):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_addresses_of_the_internet_are_public(address: str):
    assert is_public(ip_address(address))


def test_one_bad_address_spoils_a_name():
    good, bad = ip_address("8.8.8.8"), ip_address("10.0.0.1")
    assert choose("a.example", [good], NOBODY) == good
    with pytest.raises(ValueError, match=r"10\.0\.0\.1, which is not a public address"):
        choose("a.example", [good, bad], NOBODY)
    with pytest.raises(ValueError, match="no address"):
        choose("a.example", [], NOBODY)


def test_an_allowed_host_may_be_anywhere():
    assert str(choose("intra.example", [ip_address("10.0.0.1")], frozenset({"intra.example"}))) == "10.0.0.1"


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "path"),
    [
        ("https://Example.COM", "example.com", 443, "example.com", "/"),
        ("http://example.com:8080/a?b=c", "example.com", 8080, "example.com:8080", "/a?b=c"),
        ("https://example.com.:443/", "example.com", 443, "example.com", "/"),
        ("http://[2606:4700:0:0::1111]:81/", "2606:4700::1111", 81, "[2606:4700::1111]:81", "/"),
        ("https://bücher.example/", "xn--bcher-kva.example", 443, "xn--bcher-kva.example", "/"),
        ("https://a.example?x=1", "a.example", 443, "a.example", "/?x=1"),
    ],
)
def test_a_url_is_taken_apart(url: str, host: str, port: int, authority: str, path: str):
    target = parse_url(url)
    assert (target.host, target.port, target.authority, target.path) == (host, port, authority, path)


@pytest.mark.parametrize(
    "url",
    ["", "example.com", "//example.com", "ftp://example.com", "file:///etc/passwd", "http://", "http:///x",
     "http://user@example.com", "http://a:b@example.com", "http://example.com/#x", "http://example.com:0",
     "http://example.com:99999", "http://example.com:x", "http://exa mple.com", "http://example.com\\@evil.example",
     "http://example.com/\r\nX: y", "http://127.1", "http://2130706433", "http://0x7f000001", "http://0x7f.1",
     "http://0177.0.0.1", "http://127.0.0.1.", "http://\uff11\uff12\uff17.0.0.1", "http://127\u30020\u30020\u30021",
     "http://a..example", "http://-a.example", "http://[::1", "http://[fe80::1%25eth0]x", "http://[::1]x",
     "http://" + "a" * 64 + ".example",     "gopher://example.com", "javascript:alert(1)", "http://example.com/{x}"],
)  # fmt: skip
def test_what_is_no_plain_url_is_refused(url: str):
    with pytest.raises(ValueError, match=r"^must"):
        parse_url(url)
