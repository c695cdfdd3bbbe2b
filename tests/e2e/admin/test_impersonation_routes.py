"""An impersonation token on every route of the API: what it may do is what the protos say, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fastcms.common.v1.options_pb2 import Access
from tests.e2e.admin.conftest import PASSWORD, Client
from tests.routes import Route, routes
from tests.suite import Suite

FORBIDDEN = "FORBIDDEN_WHILE_IMPERSONATING"
ADMINS = (Access.CALLER_ADMIN, Access.CALLER_SUPERADMIN)
# Open to everyone at the door, so that the refusal is in the log (admin.proto).
REFUSED_INSIDE = ("ImpersonateUser", "StartImpersonation")
# What the contract names: while impersonating nobody changes what keeps the person's account their own.
NAMED = (
    "ChangePassword", "RequestEmailChange", "RevokeSession", "RevokeAllSessions", "SetUpMfa", "EnableMfa",
    "DisableMfa", "RenewRecoveryCodes", "DeleteUser",
)  # fmt: skip


def is_denied(route: Route) -> bool:
    return route.access.deny_impersonation or route.access.caller in ADMINS or route.method.name in REFUSED_INSIDE


@pytest.fixture(scope="module")
def target(root: Client) -> str:
    body = {"email": "eve@example.com", "password": PASSWORD, "role": "user"}
    answer = root.post("/api/v1/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["user"]["id"])


@pytest.fixture
def acting(proxied: Suite, root: Client, target: str) -> Iterator[Client]:
    token = root.post(f"/api/v1/admin/users/{target}/impersonate").json()["access_token"]
    with Client(proxied, "198.18.0.3").with_token(token) as client:
        yield client


@pytest.mark.parametrize("route", routes(), ids=str)
def test_what_the_token_may_do_is_what_the_protos_say(acting: Client, route: Route):
    json = {} if route.verb in ("POST", "PATCH", "PUT") and not route.streams else None
    with acting.stream(route.verb, route.filled("01900000-0000-7000-8000-000000000000"), json=json) as answer:
        answer.read()
        problem = answer.headers.get("content-type", "").startswith("application/problem")
        code = answer.json()["code"] if problem else None
        if is_denied(route):
            assert (answer.status_code, code) == (403, FORBIDDEN)
        else:
            assert code != FORBIDDEN
            assert answer.status_code < 500


@pytest.mark.parametrize("name", NAMED)
def test_what_the_contract_names_is_denied(name: str):
    named = [route for route in routes() if route.method.name == name]
    assert named, f"no rpc is called {name}"
    assert all(map(is_denied, named))
