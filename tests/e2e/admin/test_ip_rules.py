"""IP rules through the whole suite: in force on every worker, and while admin-service is away."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.admin.conftest import Client
from tests.suite import Suite, wait_until

RULES = "/api/v1/admin/ip-rules"


@pytest.fixture(autouse=True)
def no_rules_left(root: Client) -> Iterator[None]:
    yield
    # A worker may not have found the service again yet that a test killed.
    wait_until(lambda: root.get(RULES).is_success, "the rules are told")
    for rule in root.get(RULES).json()["items"]:
        assert root.delete(f"{RULES}/{rule['id']}", params={"force": "true"}).status_code == 204


def status_from(suite: Suite, address: str, path: str = "/api/v1/auth/me") -> int:
    """The status on a connection of its own, so that any worker may have it."""
    with Client(suite, address) as client:
        return client.get(path).status_code


def everywhere(suite: Suite, address: str, status: int, path: str = "/api/v1/auth/me") -> bool:
    return all(status_from(suite, address, path) == status for _ in range(12))


def within_a_second(suite: Suite, address: str, status: int) -> None:
    wait_until(lambda: everywhere(suite, address, status), f"{address} gets {status} on every worker", within=1.0)


def test_a_blocked_address_is_turned_away_on_every_worker_within_a_second(proxied: Suite, root: Client):
    body = {"cidr": "192.0.2.0/24", "rule_type": "block", "reason": "spam"}
    answer = root.post(RULES, json=body)
    assert answer.status_code == 201, answer.text
    within_a_second(proxied, "192.0.2.7", 403)
    with Client(proxied, "192.0.2.7") as client:
        problem = client.get("/docs").json()
        assert (problem["status"], problem["detail"]) == (403, "Access denied: spam")
        assert client.get("/health").status_code == 200
        assert client.get("/nowhere").status_code == 403
    assert status_from(proxied, "192.0.3.7") == 401
    assert root.delete(f"{RULES}/{answer.json()['id']}").status_code == 204
    within_a_second(proxied, "192.0.2.7", 401)


def test_an_allow_rule_closes_the_door_to_all_others(proxied: Suite, root: Client):
    assert root.post(RULES, json={"cidr": "198.18.0.0/15", "rule_type": "allow"}).status_code == 201
    within_a_second(proxied, "203.0.113.1", 403)
    within_a_second(proxied, "2001:db8::1", 403)
    assert root.get("/api/v1/auth/me").status_code == 200


def test_a_rule_that_shuts_out_its_maker_is_a_conflict(root: Client):
    answer = root.post(RULES, json={"cidr": "198.18.0.1", "rule_type": "block"})
    assert (answer.status_code, answer.json()["code"]) == (409, "SELF_LOCKOUT")


def test_a_rule_ends_to_the_second(proxied: Suite, root: Client):
    ends = time.time() + 2
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ends)) + f".{round(ends % 1 * 1000) % 1000:03}Z"
    body = {"cidr": "192.0.2.9", "rule_type": "block", "expires_at": text}
    assert root.post(RULES, json=body).status_code == 201
    within_a_second(proxied, "192.0.2.9", 403)
    wait_until(lambda: time.time() > ends - 0.3, "shortly before its end", within=3)
    assert status_from(proxied, "192.0.2.9") == 403
    wait_until(lambda: everywhere(proxied, "192.0.2.9", 401), "the rule has ended", within=1.3)


def test_a_bad_rule_is_refused_by_field(root: Client):
    for body, field in (
        ({"cidr": "10.0.0.1/8", "rule_type": "block"}, "cidr"),
        ({"cidr": "192.0.2.0/24", "rule_type": "perhaps"}, "rule_type"),
        ({"cidr": "192.0.2.0/24"}, "rule_type"),
        ({"cidr": 7, "rule_type": "block"}, "cidr"),
        ({"cidr": "192.0.2.0/24", "rule_type": "block", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"cidr": "192.0.2.0/24", "rule_type": "block", "colour": "red"}, "colour"),
    ):
        answer = root.post(RULES, json=body)
        assert answer.status_code == 422, body
        assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_rules_stay_in_force_while_admin_service_is_away(proxied: Suite, root: Client):
    assert root.post(RULES, json={"cidr": "192.0.2.0/24", "rule_type": "block"}).status_code == 201
    within_a_second(proxied, "192.0.2.7", 403)
    killed = proxied.kill("admin-service")
    assert everywhere(proxied, "192.0.2.7", 403)
    assert everywhere(proxied, "203.0.113.1", httpx.codes.UNAUTHORIZED)
    proxied.wait_restarted("admin-service", killed)
    assert everywhere(proxied, "192.0.2.7", 403)
