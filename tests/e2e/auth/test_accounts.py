"""The routes of accounts as a client meets them, over HTTP, through all services."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.policy import default
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest

from tests.suite import Suite, wait_until

API = "/api/v1"
PASSWORD = "securepassword123"


@pytest.fixture(scope="module")
def customers(admin_client: httpx.Client) -> str:
    """The path of a fresh auth collection's routes."""
    name = f"customers_{uuid4().hex[:8]}"
    answer = admin_client.post(
        f"{API}/collections",
        json={
            "name": name,
            "type": "auth",
            "schema": {"fields": [{"name": "company", "type": "text"}, {"name": "phone", "type": "text"}]},
            "options": {"auth": {"otp_enabled": True}},
        },
    )
    assert answer.status_code == 201, answer.text
    return f"{API}/collections/{name}/auth"


@pytest.fixture
def client(suite: Suite) -> Any:
    with httpx.Client(base_url=suite.base_url, trust_env=False, timeout=20) as client:
        yield client


def new_email() -> str:
    return f"{uuid4().hex[:12]}@example.com"


def bearer(answer: httpx.Response) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_members_sign_in_with_the_name_that_their_collection_knows_them_by(
    admin_client: httpx.Client, client: httpx.Client
):
    name = f"players_{uuid4().hex[:8]}"
    username = {"name": "username", "type": "text", "required": True, "unique": True}
    options = {"auth": {"identity_field": "username"}}
    body = {"name": name, "type": "auth", "schema": {"fields": [username]}, "options": options}
    assert admin_client.post(f"{API}/collections", json=body).status_code == 201
    path, email = f"{API}/collections/{name}/auth", new_email()
    joined = client.post(f"{path}/register", json={"email": email, "password": PASSWORD, "username": "zoe"})
    assert joined.status_code == 201, joined.text
    taken = client.post(f"{path}/register", json={"email": new_email(), "password": PASSWORD, "username": "zoe"})
    assert [one["field"] for one in taken.json()["errors"]] == ["username"]
    assert client.post(f"{path}/login", json={"email": "zoe", "password": PASSWORD}).json()["user"]["email"] == email
    assert client.post(f"{path}/login", json={"email": email, "password": PASSWORD}).status_code == 401
    records = f"{API}/collections/{name}/records"
    renamed = admin_client.patch(f"{records}/{joined.json()['user']['id']}", json={"data": {"username": "zoey"}})
    assert renamed.status_code == 200, renamed.text
    assert client.post(f"{path}/login", json={"email": "zoey", "password": PASSWORD}).status_code == 200
    assert client.post(f"{path}/login", json={"email": "zoe", "password": PASSWORD}).status_code == 401


def test_unknown_wrong_and_disabled_differ_in_no_header_and_no_word(
    admin_client: httpx.Client, client: httpx.Client, customers: str
):
    wrong, disabled = new_email(), new_email()
    for email in (wrong, disabled):
        joined = client.post(f"{customers}/register", json={"email": email, "password": PASSWORD})
    gone = admin_client.post(f"{API}/admin/users/{joined.json()['user']['id']}/disable")
    assert gone.status_code == 200
    told = []
    for email, password in ((new_email(), PASSWORD), (wrong, "not the password"), (disabled, PASSWORD)):
        answer = client.post(f"{customers}/login", json={"email": email, "password": password})
        # What is new with every answer, and how many tries there are left from this address.
        headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "ratelimit")}
        body = {name: value for name, value in answer.json().items() if name != "request_id"}
        told.append((answer.status_code, headers | {"date": ""}, body))
    assert told[0] == told[1] == told[2]
    assert told[0][0] == 401


def mail(suite: Suite, to: str, purpose: str) -> str:
    """The text of the newest mail, once it is there."""

    def look() -> str:
        for path in sorted(suite.data_dir.joinpath("outbox").glob(f"*-{purpose}.eml"), reverse=True):
            message = message_from_bytes(path.read_bytes(), policy=default)
            if message["To"] == to:
                return message.get_body(("plain",)).get_content()  # type: ignore[attr-defined, no-any-return]
        return ""

    return wait_until(look, f"a {purpose} mail to {to}")


def token(text: str) -> str:
    found = re.search(r"https?://\S+", text)
    assert found
    return parse_qs(urlsplit(found[0]).query)["token"][0]


def register(client: httpx.Client, customers: str, **more: Any) -> httpx.Response:
    return client.post(
        f"{customers}/register", json={"email": new_email(), "password": PASSWORD, "company": "Acme Inc", **more}
    )


def test_a_customer_registers_signs_in_refreshes_and_signs_out(client: httpx.Client, customers: str):
    email = new_email()
    answer = register(client, customers, email=email, phone="+1234567890")
    assert answer.status_code == 201, answer.text
    assert answer.json()["token_type"] == "bearer"
    user = answer.json()["user"]
    assert (user["email"], user["company"], user["phone"], user["verified"]) == (
        email, "Acme Inc", "+1234567890", False,
    )  # fmt: skip
    login = client.post(f"{customers}/login", json={"email": email.upper(), "password": PASSWORD})
    assert login.status_code == 200
    me = client.get(f"{customers}/me", headers=bearer(login))
    assert me.json() == login.json()["user"]
    assert client.get("/api/me", headers=bearer(login)).json() == me.json()
    refreshed = client.post(f"{customers}/refresh", json={"refresh_token": login.json()["refresh_token"]})
    assert refreshed.status_code == 200
    assert client.post(f"{customers}/logout", headers=bearer(refreshed)).status_code == 204
    gone = client.get(f"{customers}/me", headers=bearer(login))
    assert (gone.status_code, gone.json()["code"]) == (401, "SESSION_REVOKED")
    assert gone.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("field", ["role", "verified", "id", "created", "color"])
def test_what_a_customer_may_not_set_is_422(client: httpx.Client, customers: str, field: str):
    answer = register(client, customers, **{field: "x"})
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [field]


def test_a_bad_password_is_told_as_a_list(client: httpx.Client, customers: str):
    answer = register(client, customers, password="short")
    assert answer.status_code == 422
    assert answer.json()["detail"] == ["Password must be at least 8 characters"]


def test_a_locked_account_gets_the_seeds_words(client: httpx.Client, customers: str):
    body = {"email": new_email(), "password": "wrong"}
    for _ in range(5):
        assert client.post(f"{customers}/login", json=body).status_code == 401
    locked = client.post(f"{customers}/login", json=body)
    assert locked.status_code == 403
    assert re.fullmatch(r"Account locked\. Try again in \d+ seconds\.", locked.json()["detail"])
    assert int(locked.headers["Retry-After"]) > 1700


def test_a_forgotten_password(suite: Suite, client: httpx.Client, customers: str):
    email = new_email()
    register(client, customers, email=email)
    asked = client.post(f"{customers}/request-password-reset", json={"email": email})
    assert asked.status_code == 202
    used = {"token": token(mail(suite, email, "password_reset")), "new_password": "a whole new password"}
    assert client.post(f"{customers}/confirm-password-reset", json=used).status_code == 204
    assert client.post(f"{customers}/login", json={"email": email, "password": PASSWORD}).status_code == 401
    again = client.post(f"{customers}/confirm-password-reset", json=used)
    assert (again.status_code, again.json()["code"]) == (422, "TOKEN_INVALID")


def test_a_code_by_mail(suite: Suite, client: httpx.Client, customers: str):
    email = new_email()
    register(client, customers, email=email)
    assert client.post(f"{customers}/otp/request", json={"email": email}).status_code == 202
    code = re.search(r"^(\d{6})\r?$", mail(suite, email, "otp"), re.MULTILINE)
    assert code
    body = {"email": email, "code": code[1]}
    assert client.post(f"{customers}/otp/verify", json=body).status_code == 200
    assert client.post(f"{customers}/otp/verify", json=body).status_code == 401


def test_a_new_address(suite: Suite, client: httpx.Client, customers: str):
    old, new = new_email(), new_email()
    answer = register(client, customers, email=old)
    body = {"new_email": new, "password": PASSWORD}
    assert client.post(f"{customers}/me/request-email-change", json=body, headers=bearer(answer)).status_code == 202
    confirm = {"token": token(mail(suite, new, "email_change"))}
    changed = client.post(f"{customers}/me/confirm-email-change", json=confirm)
    assert (changed.status_code, changed.json()["email"], changed.json()["verified"]) == (200, new, True)
    assert client.get(f"{customers}/me", headers=bearer(answer)).json()["email"] == new


def test_sessions_are_a_bare_list(client: httpx.Client, customers: str):
    answer = register(client, customers)
    (session,) = client.get(f"{customers}/sessions", headers=bearer(answer)).json()
    assert session.keys() == {"id", "created", "last_used", "user_agent", "ip_address", "current"}
    assert session["current"] is True
    assert client.get(f"{customers}/sessions/{session['id']}/events", headers=bearer(answer)).json() == []
    assert client.delete(f"{customers}/sessions/{session['id']}", headers=bearer(answer)).status_code == 204
    assert client.get(f"{customers}/me", headers=bearer(answer)).status_code == 401


def test_the_password_changes_under_both_paths(client: httpx.Client, customers: str, suite: Suite):
    answer = register(client, customers)
    body = {"current_password": PASSWORD, "new_password": "another password 5"}
    assert client.post(f"{customers}/me/change-password", json=body, headers=bearer(answer)).status_code == 204
    wrong = client.post(f"{customers}/me/change-password", json=body, headers=bearer(answer))
    assert (wrong.status_code, wrong.json()["code"]) == (422, "INVALID_CREDENTIALS")


def test_a_deleted_record_takes_its_account_along(admin_client: httpx.Client, client: httpx.Client, customers: str):
    answer = register(client, customers)
    records = customers.replace("/auth", "/records")
    record = f"{records}/{answer.json()['user']['id']}"
    assert admin_client.delete(record).status_code == 204
    wait_until(
        lambda: client.get(f"{customers}/me", headers=bearer(answer)).status_code == 401, "the session has ended"
    )
    body = {"email": answer.json()["user"]["email"], "password": PASSWORD}
    assert client.post(f"{customers}/login", json=body).status_code == 401


def test_settings_change_what_everybody_gets(admin_client: httpx.Client, client: httpx.Client, customers: str):
    path = f"{API}/settings/auth"
    before = admin_client.get(path).json()
    assert before["account_lockout_attempts"] == 5
    for bad in ({"password_min_length": "x"}, {"password_min_length": 0}, {"color": 1}, {"otp_enabled": None}):
        refused = admin_client.patch(path, json=bad)
        assert refused.status_code == 422, bad
        assert [one["field"] for one in refused.json()["errors"]] == list(bad)
    try:
        assert admin_client.patch(path, json={"password_require_number": True}).status_code == 200
        answer = register(client, customers, password="no number in it")
        assert answer.json()["detail"] == ["Password must contain at least one digit"]
    finally:
        admin_client.patch(path, json={"password_require_number": before["password_require_number"]})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/me"), ("POST", "/logout"), ("GET", "/sessions"), ("DELETE", "/sessions/all"), ("GET", "/mfa"),
        ("POST", "/mfa/setup"), ("POST", "/me/change-password"), ("POST", "/me/request-email-change"),
        ("GET", "/me/impersonations"),
    ],
)  # fmt: skip
def test_without_a_token_it_is_401(client: httpx.Client, customers: str, method: str, path: str):
    answer = client.request(method, f"{customers}{path}", json={} if method == "POST" else None)
    assert answer.status_code == 401


def test_a_realm_is_named_by_the_path_and_by_nothing_else(client: httpx.Client, customers: str):
    name = customers.split("/")[4]
    answer = client.post(f"{API}/auth/login", json={"email": "x@example.com", "password": "x", "collection": name})
    assert (answer.status_code, [one["field"] for one in answer.json()["errors"]]) == (422, ["collection"])
    registered = register(client, customers)
    listed = client.get(f"{API}/auth/sessions", params={"collection": name}, headers=bearer(registered))
    assert (listed.status_code, [one["field"] for one in listed.json()["errors"]]) == (422, ["collection"])


def test_members_who_go_with_a_record_leave_no_account_behind(admin_client: httpx.Client, client: httpx.Client):
    team, members = f"teams_{uuid4().hex[:8]}", f"members_{uuid4().hex[:8]}"
    relation = {"name": "team", "type": "relation", "collection": team, "on_delete": "cascade"}
    for name, kind, fields in ((team, "base", []), (members, "auth", [relation])):
        body = {"name": name, "type": kind, "schema": {"fields": fields}}
        assert admin_client.post(f"{API}/collections", json=body).status_code == 201
    record = admin_client.post(f"{API}/collections/{team}/records", json={"data": {}}).json()["id"]
    for number in range(8):
        body = {"email": f"m{number}@example.com", "password": PASSWORD, "team": record}
        answer = client.post(f"{API}/collections/{members}/auth/register", json=body)
        assert answer.status_code == 201, answer.text
    assert admin_client.delete(f"{API}/collections/{team}/records/{record}").status_code == 204

    def nobody() -> bool:
        accounts = admin_client.get(f"{API}/admin/users", params={"collection": members}).json()
        return bool(accounts["total"] == 0)

    wait_until(nobody, "the accounts have gone with the records")
    answer = client.get(f"{API}/collections/{members}/auth/sessions", headers=bearer(answer))
    assert answer.json()["code"] == "SESSION_REVOKED"
