"""Managing accounts over HTTP, across realms."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.e2e.admin.conftest import PASSWORD, Client
from tests.suite import Suite

USERS = "/api/v1/admin/users"
ITEM = {
    "id", "email", "name", "role", "superadmin", "verified", "disabled", "collection", "created", "last_login",
}  # fmt: skip


@pytest.fixture(scope="module")
def members(root: Client) -> str:
    """The name of an auth collection with one member."""
    body = {"name": "patrons", "type": "auth", "schema": {"fields": [{"name": "city", "type": "text"}]}}
    answer = root.post("/api/v1/collections", json=body)
    assert answer.status_code == 201, answer.text
    body = {"email": "mia@example.com", "password": PASSWORD, "collection": "patrons", "data": {"city": "Oslo"}}
    answer = root.post(USERS, json=body)
    assert answer.status_code == 201, answer.text
    return "patrons"


def make(root: Client, email: str, **more: object) -> str:
    answer = root.post(USERS, json={"email": email, "password": PASSWORD, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_the_list_spans_realms_and_has_the_keys_of_the_contract(root: Client, members: str):
    page = root.get(USERS, params={"per_page": 1, "sort": "email"}).json()
    assert page.keys() == {"items", "total", "page", "per_page", "total_pages"}
    assert page["items"][0].keys() == ITEM
    assert (page["page"], page["per_page"], page["total_pages"]) == (1, 1, page["total"])
    assert {user["collection"] for user in root.get(USERS).json()["items"]} >= {"users", members}
    found = root.get(USERS, params={"collection": members, "search": "mia"}).json()["items"]
    assert [(user["email"], user["role"]) for user in found] == [("mia@example.com", "user")]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"sort": "password_hash"}, "sort"),
        ({"page": "0"}, "page"),
        ({"per_page": "501"}, "per_page"),
        ({"role": "king"}, "role"),
        ({"verified": "perhaps"}, "verified"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_filter_is_refused_by_name(root: Client, query: dict[str, str], field: str):
    answer = root.get(USERS, params=query)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_no_answer_holds_a_secret(root: Client, members: str):
    text = root.get(USERS).text
    for word in ("password", "hash", "secret", "argon2"):
        assert word not in text


def test_an_account_from_its_making_to_its_end(proxied: Suite, root: Client):
    user_id = make(root, "lin@example.com", name="Lin")
    with closing(Client(proxied).sign_in("lin@example.com", PASSWORD)) as lin:
        assert root.post(f"{USERS}/{user_id}/revoke-sessions").json() == {"revoked": 1}
        assert lin.get("/api/v1/auth/me").status_code == 401
    with closing(Client(proxied).sign_in("lin@example.com", PASSWORD)) as lin:
        assert root.post(f"{USERS}/{user_id}/disable").json()["disabled"] is True
        assert lin.get("/api/v1/auth/me").status_code == 401
        wrong = lin.post("/api/v1/auth/login", json={"email": "lin@example.com", "password": PASSWORD})
        assert wrong.status_code == 401
    assert root.post(f"{USERS}/{user_id}/enable").json()["disabled"] is False
    changed = root.patch(f"{USERS}/{user_id}", json={"name": None, "verified": True}).json()
    assert (changed["name"], changed["verified"]) == (None, True)
    assert root.post(f"{USERS}/{user_id}/request-password-reset").status_code == 202
    assert root.delete(f"{USERS}/{user_id}").status_code == 204
    assert root.get(f"{USERS}/{user_id}").status_code == 404


def test_single_sessions_of_somebody_are_seen_and_ended(proxied: Suite, root: Client):
    user_id = make(root, "sue@example.com")
    with (
        closing(Client(proxied, "198.18.0.2").sign_in("sue@example.com", PASSWORD)) as phone,
        closing(Client(proxied, "198.18.0.3").sign_in("sue@example.com", PASSWORD)) as desk,
    ):
        newest, oldest = root.get(f"{USERS}/{user_id}/sessions").json()
        assert newest.keys() == {"id", "created", "last_used", "user_agent", "ip_address", "current"}
        assert (newest["ip_address"], oldest["ip_address"]) == ("198.18.0.3", "198.18.0.2")
        assert root.delete(f"{USERS}/{user_id}/sessions/{newest['id']}").status_code == 204
        assert desk.get("/api/v1/auth/me").status_code == 401
        assert phone.get("/api/v1/auth/me").status_code == 200
        assert phone.get(f"{USERS}/{user_id}/sessions").status_code == 403
    gone = root.delete(f"{USERS}/{user_id}/sessions/{newest['id']}")
    assert (gone.status_code, gone.json()["code"]) == (404, "SESSION_NOT_FOUND")


def test_the_mail_settings_are_tried(proxied: Suite, root: Client):
    test = "/api/v1/admin/settings/mail/test"
    answer = root.post(test, json={"to": "desk@example.com"})
    assert (answer.status_code, answer.json()["to"]) == (200, "desk@example.com")
    assert list(proxied.data_dir.joinpath("outbox").glob("*-test.eml"))
    # Nothing listens there.
    assert root.patch("/api/v1/settings/mail", json={"smtp_url": "smtp://127.0.0.1:1"}).status_code == 200
    refused = root.post(test, json={"to": "desk@example.com"})
    assert root.patch("/api/v1/settings/mail", json={"smtp_url": None}).status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (409, "MAIL_NOT_SENT")
    assert "cannot be reached" in refused.json()["detail"]
    assert [one["field"] for one in root.post(test, json={"to": "nobody"}).json()["errors"]] == ["to"]


def test_nobody_sets_the_password_of_somebody_else(root: Client):
    user_id = make(root, "may@example.com")
    answer = root.patch(f"{USERS}/{user_id}", json={"password": "a brand new battery staple"})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["password"]


def test_the_last_superadmin_and_oneself_are_safe(root: Client):
    me = root.get("/api/v1/auth/me").json()["id"]
    for answer in (
        root.delete(f"{USERS}/{me}"),
        root.post(f"{USERS}/{me}/disable"),
        root.patch(f"{USERS}/{me}", json={"role": "user"}),
        root.patch(f"{USERS}/{me}", json={"superadmin": False}),
    ):
        assert answer.status_code == 409, answer.text
    assert root.get("/api/v1/auth/me").json()["superadmin"] is True


def test_a_demoted_admin_is_out_at_once(proxied: Suite, root: Client):
    user_id = make(root, "ned@example.com", role="admin")
    target = make(root, "oda@example.com")
    with closing(Client(proxied).sign_in("ned@example.com", PASSWORD)) as ned:
        acting = ned.post(f"{USERS}/{target}/impersonate").json()["access_token"]
        assert root.patch(f"{USERS}/{user_id}", json={"role": "user"}).status_code == 200
        assert ned.get(USERS).status_code == 401
        with closing(Client(proxied).with_token(acting)) as token:
            assert token.get("/api/v1/auth/me").status_code == 401


def test_the_person_sees_who_acted_as_them(proxied: Suite, root: Client):
    target = make(root, "pia@example.com")
    started = root.post(f"{USERS}/{target}/impersonate", json={"reason": "ticket 12"}).json()
    root.delete("/api/v1/admin/impersonate")
    assert started["expires_in"] == 3600
    with closing(Client(proxied).sign_in("pia@example.com", PASSWORD)) as pia:
        (seen,) = pia.get("/api/v1/auth/me/impersonations").json()
        assert (seen["reason"], seen["actor_email"]) == ("ticket 12", "root@example.com")
        assert seen["ended"] is not None


def test_a_member_can_be_impersonated_and_calls_home(proxied: Suite, root: Client, members: str):
    (mia,) = root.get(USERS, params={"collection": members}).json()["items"]
    token = root.post(f"/api/admin/users/{mia['id']}/impersonate").json()["token"]
    with closing(Client(proxied).with_token(token)) as acting:
        assert acting.get("/api/me").json()["email"] == "mia@example.com"
        assert acting.get(f"/api/v1/collections/{members}/auth/me").json()["city"] == "Oslo"
