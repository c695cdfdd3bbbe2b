"""What happens while admin-service is dead is in the log when it is back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.admin.conftest import Client
from tests.suite import Suite, wait_until


@pytest.mark.parametrize("kills", [1, 3])
def test_nothing_is_lost_or_doubled_while_admin_service_dies(proxied: Suite, root: Client, kills: int):
    address = f"198.18.99.{kills}"
    query = {"event_action": "login_failed", "ip_address": address, "limit": 1000}
    with Client(proxied, address) as stranger:
        for _ in range(kills):
            killed = proxied.kill("admin-service")
            for number in range(10):
                wrong = {"email": f"nobody-{number}@example.com", "password": "not the password at all"}
                assert stranger.post("/api/v1/auth/login", json=wrong).status_code in (401, 403)
            proxied.wait_restarted("admin-service", killed)
    wanted = 10 * kills

    def found() -> dict[str, Any]:
        answer = root.get("/api/v1/audit", params=query)
        return dict(answer.json())

    # A worker may still be looking for the new process: 503 until it has found it.
    wait_until(lambda: found().get("total", 0) >= wanted, "all is stored", within=40)
    page = found()
    assert page["total"] == wanted
    assert len({event["id"] for event in page["items"]}) == wanted
    proof = wait_until(lambda: proven(root), "the log is proven", within=10)
    assert proof["ok"], proof


def proven(root: Client) -> dict[str, Any] | None:
    answer = root.get("/api/v1/audit/verify")
    return answer.json() if answer.status_code == 200 else None
