"""A suite whose clients say where they are: two gateway workers behind a proxy that is trusted."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.suite import Suite, start_suite

PASSWORD = "another horse battery staple"


class Client(httpx.Client):
    """A client at an address of its own, signed in once `sign_in` was called."""

    def __init__(self, suite: Suite, address: str = "198.18.0.1") -> None:
        headers = {"X-Forwarded-For": address}
        super().__init__(base_url=suite.base_url, headers=headers, trust_env=False, timeout=20)

    def sign_in(self, email: str = ADMIN_EMAIL, password: str = ADMIN_PASSWORD) -> Client:
        answer = self.post("/api/v1/auth/login", json={"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        return self.with_token(answer.json()["access_token"])

    def with_token(self, token: str) -> Client:
        self.headers["Authorization"] = f"Bearer {token}"
        return self


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    data_dir = tmp_path_factory.mktemp("proxied") / "data"
    environment = {
        "ADMIN_EMAIL": ADMIN_EMAIL,
        "ADMIN_PASSWORD": ADMIN_PASSWORD,
        "TRUSTED_PROXIES": "127.0.0.1",
        "GATEWAY_WORKERS": "2",
        "RATE_LIMIT_CREDENTIALS_PER_MINUTE": "1000000",
        "RATE_LIMIT_REQUESTS_PER_MINUTE": "10000000",
    }
    with start_suite(data_dir, **environment) as running:
        yield running


@pytest.fixture(scope="module")
def root(proxied: Suite) -> Iterator[Client]:
    """The first admin."""
    with Client(proxied) as client:
        yield client.sign_in()
