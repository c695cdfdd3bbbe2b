"""Limits through the whole suite: two workers count as one, new settings hold at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.admin.conftest import PASSWORD, Client
from tests.suite import Suite, wait_until

SETTINGS = "/api/v1/settings/rate_limits"
WRONG = {"email": "nobody@example.com", "password": "not the password at all"}


@pytest.fixture(autouse=True)
def unlimited_again(root: Client) -> Iterator[None]:
    yield
    everything = {"enabled": True, "credentials_per_minute": 1_000_000, "requests_per_minute": 10_000_000}
    assert root.patch(SETTINGS, json=everything).status_code == 200


def limit(suite: Suite, root: Client, **values: int) -> None:
    """Changes the limits, and returns when every worker obeys."""
    assert root.patch(SETTINGS, json=values).status_code == 200
    wanted = f"q={values.get('requests_per_minute', 10_000_000)}"

    def in_force() -> bool:
        policies = []
        for _ in range(12):
            with Client(suite, "198.18.0.200") as client:
                policies.append(client.get("/.well-known/jwks.json").headers["ratelimit-policy"])
        return all(wanted in policy for policy in policies)

    wait_until(in_force, f"{wanted} is in force on every worker", within=5)


def sign_in(suite: Suite, address: str, email: str = WRONG["email"]) -> tuple[int, dict[str, str]]:
    with Client(suite, address) as client:
        answer = client.post("/api/v1/auth/login", json=WRONG | {"email": email})
        return answer.status_code, dict(answer.headers)


def test_sign_ins_are_limited_by_address_on_all_workers_together(proxied: Suite, root: Client):
    limit(proxied, root, credentials_per_minute=4, requests_per_minute=100_001)
    answers = [sign_in(proxied, "198.51.100.1", f"nobody-{number}@example.com") for number in range(12)]
    assert Counter(status for status, _ in answers) == {401: 4, 429: 8}
    status, headers = answers[-1]
    assert status == 429
    assert headers["retry-after"] in ("14", "15")
    assert headers["ratelimit-policy"] == '"credentials";q=4;w=60'
    assert headers["ratelimit"] == f'"credentials";r=0;t={headers["retry-after"]}'
    assert sign_in(proxied, "198.51.100.2")[0] == 401


def test_sign_ins_are_limited_by_account_wherever_they_come_from(proxied: Suite, root: Client):
    limit(proxied, root, credentials_per_minute=4, requests_per_minute=100_002)
    spellings = ["one@example.com", "ONE@example.com", " one@example.com", "one@Example.com"]
    answers = [sign_in(proxied, f"203.0.113.{n}", spellings[n % 4])[0] for n in range(10)]
    assert answers.count(429) == 6
    assert sign_in(proxied, "203.0.113.100", "two@example.com")[0] != 429


def test_whoever_is_signed_in_is_limited_as_an_account_wherever_they_come_from(proxied: Suite, root: Client):
    body = {"email": "tried@example.com", "password": PASSWORD, "role": "user"}
    tokens = [root.post("/api/v1/auth/register", json=body | {"email": f"{n}-{body['email']}"}) for n in range(2)]
    limit(proxied, root, credentials_per_minute=4, requests_per_minute=100_004)

    def disable(number: int, whose: int) -> int:
        with Client(proxied, f"203.0.113.{number}").with_token(tokens[whose].json()["access_token"]) as client:
            return client.post("/api/v1/auth/mfa/disable", json={"code": "000000"}).status_code

    assert [disable(101 + n, 0) for n in range(6)].count(429) == 2
    assert disable(110, 1) == 409


def test_registering_is_limited_by_account_too(proxied: Suite, root: Client):
    assert root.post("/api/v1/collections", json={"name": "joiners", "type": "auth", "schema": []}).status_code == 201
    limit(proxied, root, credentials_per_minute=4, requests_per_minute=100_005)

    def join(number: int, body: object) -> int:
        with Client(proxied, f"203.0.113.{number}") as client:
            return client.post("/api/v1/collections/joiners/auth/register", json=body).status_code

    same = {"email": "same@example.com", "password": PASSWORD}
    assert [join(120 + n, same) for n in range(6)] == [201, 409, 409, 409, 429, 429]
    assert join(130, same | {"email": "other@example.com"}) == 201
    # What names no account is for the service to refuse.
    nameless = ([], {}, {"email": 7}, {"email": None})
    assert [join(131 + n, body) for n, body in enumerate(nameless)] == [400, 422, 422, 422]


def test_all_else_is_limited_by_caller(proxied: Suite, root: Client):
    limit(proxied, root, requests_per_minute=200)

    def answered() -> Counter[int]:
        statuses: Counter[int] = Counter()
        for _ in range(10):
            with Client(proxied, "198.51.100.77") as client:
                statuses.update(client.get("/api/v1/auth/me").status_code for _ in range(25))
        return statuses

    statuses = answered()
    assert statuses[401] >= 200
    # While they came, a few were given back.
    assert 20 <= statuses[429] <= 50
    assert root.get("/api/v1/auth/me").status_code == 200


def test_a_refused_call_says_so_as_a_problem(proxied: Suite, root: Client):
    limit(proxied, root, credentials_per_minute=1, requests_per_minute=100_003)
    sign_in(proxied, "198.51.100.30")
    with Client(proxied, "198.51.100.30") as client:
        answer = client.post("/api/v1/auth/login", json=WRONG)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (429, "RATE_LIMITED")
        assert problem["detail"] == f"Too many requests. Try again in {answer.headers['retry-after']} seconds."
        assert client.get("/health").status_code == 200
