"""The admin tools as the seeds show them, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import orjson
import pytest

from tests.e2e.admin.conftest import PASSWORD, Client
from tests.suite import Suite, wait_until

MISSING = "01900000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def ada(proxied: Suite, root: Client) -> Iterator[Client]:
    """A user; `ada.id` and `ada.email` tell who."""
    email = "ada@example.com"
    body = {"email": email, "password": PASSWORD, "role": "user", "name": "Ada"}
    answer = root.post("/api/v1/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    with Client(proxied, "198.18.0.2") as client:
        client.sign_in(email, PASSWORD)
        client.id = answer.json()["user"]["id"]  # type: ignore[attr-defined]
        yield client


def impersonate(root: Client, user_id: str, **query: str) -> dict[str, object]:
    answer = root.post(f"/api/v1/admin/users/{user_id}/impersonate", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_the_seeds_impersonation(proxied: Suite, root: Client, ada: Client):
    answer = impersonate(root, ada.id, duration="1800")
    assert answer.keys() == {"access_token", "token_type", "expires_in", "impersonated_user_id", "message"}
    assert answer["token_type"] == "bearer"
    assert answer["expires_in"] == 1800
    assert answer["impersonated_user_id"] == ada.id
    assert answer["message"] == "Impersonation token issued. This token cannot be refreshed."
    with Client(proxied).with_token(str(answer["access_token"])) as acting:
        assert acting.get("/api/v1/auth/me").json()["email"] == "ada@example.com"
        assert acting.delete("/api/v1/admin/impersonate").json() == {"ended": True}
        assert acting.get("/api/v1/auth/me").status_code == 401
    assert root.delete("/api/v1/admin/impersonate").json() == {"ended": False}


def test_whatever_is_done_as_someone_else_is_written_down_with_both_ids(proxied: Suite, root: Client, ada: Client):
    token = str(impersonate(root, ada.id)["access_token"])
    with Client(proxied).with_token(token) as acting:
        request_id = acting.get("/api/v1/auth/me").headers["x-request-id"]
        acting.delete("/api/v1/admin/impersonate")

    def written() -> list[dict[str, object]]:
        events = root.get("/api/v1/audit", params={"event_action": "impersonated_request", "limit": 1000}).json()[
            "items"
        ]
        return [event for event in events if event["request_id"] == request_id]

    (event,) = wait_until(written, "the request is in the log")
    me = root.get("/api/v1/auth/me").json()
    assert (event["user_id"], event["actor_id"]) == (ada.id, me["id"])
    assert event["details"] == {"method": "GET", "path": "/api/v1/auth/me", "rpc": "fastcms.auth.v1.AuthService.GetMe"}


def test_the_example_of_fastify_xadmin(proxied: Suite, root: Client, ada: Client):
    started = root.post(f"/api/admin/users/{ada.id}/impersonate").json()
    assert started.keys() == {"token", "userId", "expiresAt"}
    assert started["userId"] == ada.id
    left = datetime.fromisoformat(started["expiresAt"]) - datetime.now(UTC)
    assert 3590 < left.total_seconds() <= 3600
    with Client(proxied).with_token(started["token"]) as acting:
        assert acting.get("/api/me").json()["email"] == "ada@example.com"
        assert acting.delete("/api/admin/impersonate").json() == {"ended": True}
        assert acting.get("/api/me").status_code == 401


@pytest.mark.parametrize(
    ("user", "query", "status", "code"),
    [
        ("self", {}, 400, "SELF_IMPERSONATION"),
        ("missing", {}, 404, "USER_NOT_FOUND"),
        ("ada", {"duration": "59"}, 422, "VALIDATION_FAILED"),
        ("ada", {"duration": "86401"}, 422, "VALIDATION_FAILED"),
        ("ada", {"duration": "soon"}, 422, "VALIDATION_FAILED"),
    ],
)
def test_refused_impersonations(root: Client, ada: Client, user: str, query: dict[str, str], status: int, code: str):
    user_id = {"self": root.get("/api/v1/auth/me").json()["id"], "missing": MISSING, "ada": ada.id}[user]
    for path in (f"/api/v1/admin/users/{user_id}/impersonate", f"/api/admin/users/{user_id}/impersonate"):
        answer = root.post(path, params=query)
        assert (answer.status_code, answer.json()["code"]) == (status, code), path


def test_a_reason_is_taken_from_the_body_and_shown_in_the_log(root: Client, ada: Client):
    body = {"reason": "ticket 4711", "duration": 60}
    answer = root.post(f"/api/v1/admin/users/{ada.id}/impersonate", json=body)
    assert answer.json()["expires_in"] == 60
    found = root.get("/api/v1/audit", params={"event_action": "impersonation_started", "user_id": ada.id}).json()
    assert found["items"][0]["details"]["reason"] == "ticket 4711"
    assert found["items"][0]["actor_id"] == root.get("/api/v1/auth/me").json()["id"]
    assert root.delete("/api/v1/admin/impersonate").json() == {"ended": True}


def test_only_admins_use_the_tools(root: Client, ada: Client):
    for method, path in (
        ("POST", f"/api/v1/admin/users/{ada.id}/impersonate"),
        ("GET", f"/api/v1/admin/users/{ada.id}/lock-status"),
        ("POST", f"/api/v1/admin/users/{ada.id}/unlock"),
        ("GET", "/api/v1/audit"),
        ("GET", "/api/v1/audit/export"),
        ("GET", "/api/v1/admin/ip-rules"),
        ("GET", "/api/v1/settings"),
    ):
        assert ada.request(method, path).status_code == 403, path


def test_locking_and_unlocking(proxied: Suite, root: Client, ada: Client):
    with Client(proxied, "198.18.7.7") as stranger:
        wrong = {"email": "ada@example.com", "password": "not the password at all"}
        statuses = [stranger.post("/api/v1/auth/login", json=wrong).status_code for _ in range(6)]
        assert statuses[-1] == 403
    status = root.get(f"/api/v1/admin/users/{ada.id}/lock-status").json()
    assert status.keys() == {"user_id", "is_locked", "failed_login_attempts", "locked_until", "remaining_seconds"}
    assert (status["user_id"], status["is_locked"], status["failed_login_attempts"]) == (ada.id, True, 5)
    assert 1790 <= status["remaining_seconds"] <= 1800
    unlocked = root.post(f"/api/v1/admin/users/{ada.id}/unlock").json()
    assert (unlocked["id"], unlocked["failed_login_attempts"], unlocked["locked_until"]) == (ada.id, 0, None)
    status = root.get(f"/api/v1/admin/users/{ada.id}/lock-status").json()
    assert (status["is_locked"], status["locked_until"], status["remaining_seconds"]) == (False, None, 0)
    query = {"event_type": "auth", "event_action": "account_locked"}
    locked = wait_until(lambda: root.get("/api/v1/audit", params=query).json()["items"], "the lock is in the log")
    assert locked[0]["ip_address"] == "198.18.7.7"
    failed = root.get("/api/v1/audit/failed-logins", params={"ip_address": "198.18.7.7"}).json()
    assert len(failed) >= 5
    assert {event["event_action"] for event in failed} == {"login_failed"}


def test_an_audit_item_has_the_keys_of_the_contract(root: Client):
    page = root.get("/api/v1/audit", params={"limit": 1}).json()
    assert page.keys() == {"items", "total", "limit", "offset"}
    assert list(page["items"][0]) == [
        "id", "event_type", "event_action", "severity", "user_id", "user_email", "actor_id", "ip_address",
        "user_agent", "resource_type", "resource_id", "description", "details", "outcome", "error_message",
        "request_id", "created",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"offset": "-1"}, "offset"),
        ({"event_type": "nonsense"}, "event_type"),
        ({"from_date": "yesterday"}, "from_date"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_filter_is_refused_by_name(root: Client, query: dict[str, str], field: str):
    answer = root.get("/api/v1/audit", params=query)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_the_log_is_whole_counted_and_exported(root: Client):
    proof = root.get("/api/v1/audit/verify").json()
    assert proof["ok"] is True
    assert proof["first_bad"] is None
    counts = root.get("/api/v1/audit/statistics").json()
    assert counts["total"] == sum(counts["by_type"].values()) >= proof["checked"]
    answer = root.get("/api/v1/audit/export")
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [orjson.loads(line) for line in answer.text.splitlines()]
    assert [line["position"] for line in lines] == list(range(1, len(lines) + 1))
    assert root.get("/.well-known/audit-keys.json").json()["keys"][0]["alg"] == "EdDSA"


def test_settings_are_shown_changed_and_refused(root: Client):
    assert root.get("/api/v1/settings").json().keys() >= {"rate_limits", "general"}
    assert root.patch("/api/v1/settings/general", json={"audit_retention_days": 90}).json() == {
        "audit_retention_days": 90
    }
    for path, body, field in (
        ("/general", {"audit_retention_days": -1}, "audit_retention_days"),
        ("/general", {"audit_retention_days": None}, "audit_retention_days"),
        ("/general", {"colour": "red"}, "colour"),
        ("", {"general": {"colour": "red"}}, "general.colour"),
        ("", {"colour": {}}, "colour"),
    ):
        answer = root.patch(f"/api/v1/settings{path}", json=body)
        assert answer.status_code == 422, (path, body, answer.text)
        assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert root.get("/api/v1/settings/general").json() == {"audit_retention_days": 90}
    assert root.get("/api/v1/settings/nonsense").status_code == 404
