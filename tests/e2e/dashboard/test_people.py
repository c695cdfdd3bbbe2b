"""Users, sessions, impersonation."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.e2e.dashboard.conftest import PASSWORD, open_screen, row, say_yes
from tests.suite import Suite, wait_until

NewUser = Callable[..., dict[str, Any]]
NewCollection = Callable[..., dict[str, Any]]


def can_sign_in(suite: Suite, email: str) -> bool:
    body = {"email": email, "password": PASSWORD}
    return httpx.post(f"{suite.base_url}/api/v1/auth/login", json=body, trust_env=False).status_code == 200


def test_users_are_found_filtered_and_opened(page: Page, new_user: NewUser):
    person = new_user(name="Rosalind Franklin", verified=False)
    open_screen(page, "users", "Users")
    expect(page.get_by_text("Manage user accounts and permissions")).to_be_visible()
    page.get_by_label("Search").fill("rosalind")
    expect(page).to_have_url(re.compile(r"\?search=rosalind$"))
    expect(page.get_by_text("Total: 1 user", exact=True)).to_be_visible()
    expect(row(page, person["email"])).to_contain_text("Unverified")
    page.get_by_label("Status").select_option("Verified")
    expect(page.get_by_text("No users found")).to_be_visible()
    page.get_by_label("Status").select_option("Unverified")
    page.get_by_role("link", name="Rosalind Franklin").click()
    expect(page.get_by_role("heading", name="Rosalind Franklin")).to_be_visible()
    expect(page.get_by_role("region", name="Audit").get_by_text("Created the user")).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Search")).to_have_value("rosalind")


def test_users_come_in_pages(page: Page, admin_client: httpx.Client):
    for number in range(41):
        body = {"email": f"paged-{number:02}@example.com", "password": PASSWORD}
        assert admin_client.post("/api/v1/admin/users", json=body).status_code == 201
    open_screen(page, "users", "Users", search="paged-", sort="email")
    expect(page.get_by_text("Page 1 of 3")).to_be_visible()
    expect(row(page, "paged-00@")).to_be_visible()
    page.get_by_role("button", name="Next").click()
    expect(row(page, "paged-20@")).to_be_visible()
    page.get_by_label("Go to page").fill("7000")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Page 3 of 3")).to_be_visible()
    expect(row(page, "paged-40@")).to_be_visible()
    page.get_by_role("button", name="Email").click()
    expect(page.get_by_text("Page 1 of 3")).to_be_visible()
    expect(row(page, "paged-40@")).to_be_visible()


def test_a_user_is_added_edited_disabled_enabled_and_deleted(page: Page, suite: Suite):
    open_screen(page, "users", "Users")
    page.get_by_role("button", name="Add user").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("E-mail", exact=True).fill("made.here@example.com")
    dialog.get_by_label("Password").fill("short")
    dialog.get_by_role("button", name="Add user").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Password must be at least 8 characters")
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Add user").click()
    expect(page.get_by_role("heading", name="made.here@example.com")).to_be_visible()

    page.get_by_role("button", name="Edit").click()
    dialog.get_by_label("Name").fill("Made Here")
    dialog.get_by_label("Role").select_option("admin")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Made Here")).to_be_visible()
    expect(page.get_by_role("region", name="Profile").get_by_text("admin", exact=True)).to_be_visible()

    page.get_by_role("button", name="Disable").click()
    say_yes(page, "Disable")
    expect(page.get_by_text("Disabled", exact=True)).to_be_visible()
    assert not can_sign_in(suite, "made.here@example.com")
    page.get_by_role("button", name="Enable").click()
    expect(page.get_by_text("Disabled", exact=True)).to_be_hidden()
    assert can_sign_in(suite, "made.here@example.com")

    page.get_by_role("button", name="Delete").click()
    say_yes(page, "Delete", typed="made.here@example.com")
    expect(page.get_by_role("heading", name="Users")).to_be_visible()
    assert not can_sign_in(suite, "made.here@example.com")


def test_ones_own_sessions_are_seen_and_ended(page: Page, suite: Suite):
    elsewhere = httpx.Client(base_url=suite.base_url, headers={"User-Agent": "elsewhere/1.0"}, trust_env=False)
    answer = elsewhere.post("/api/v1/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    open_screen(page, "account", "My account")
    expect(row(page, "this one")).to_be_visible()
    row(page, "elsewhere/1.0").first.get_by_role("button", name="End").click()
    say_yes(page, "End session")
    expect(page.get_by_text("The session has ended.")).to_be_visible()
    assert elsewhere.get("/api/v1/auth/me", headers=bearer).status_code == 401
    elsewhere.close()


def test_a_user_s_sessions_are_seen_ended_one_by_one_and_all_at_once(page: Page, suite: Suite, new_user: NewUser):
    person = new_user()
    with ExitStack() as stack:
        clients = {}
        for device in ("first/1.0", "second/1.0", "third/1.0"):
            client = httpx.Client(base_url=suite.base_url, headers={"User-Agent": device}, trust_env=False)
            clients[device] = stack.enter_context(client)
            body = {"email": person["email"], "password": PASSWORD}
            token = client.post("/api/v1/auth/login", json=body).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"

        def signed_in() -> list[str]:
            return [device for device, client in clients.items() if client.get("/api/v1/auth/me").status_code == 200]

        open_screen(page, f"users/{person['id']}", "Sam Sample")
        row(page, "second/1.0").first.get_by_role("button", name="End").click()
        say_yes(page, "End session")
        expect(page.get_by_text("The session has ended.")).to_be_visible()
        expect(page.get_by_role("button", name="End second/1.0")).to_have_count(0)
        assert signed_in() == ["first/1.0", "third/1.0"]
        page.get_by_role("button", name="End all sessions").click()
        expect(page.get_by_role("dialog")).to_contain_text("Sessions do not come back")
        say_yes(page, "End sessions")
        expect(page.get_by_text("2 sessions have ended.")).to_be_visible()
        expect(page.get_by_text("No sessions")).to_be_visible()
        assert signed_in() == []


def test_a_user_is_sent_a_link_to_set_a_new_password(page: Page, suite: Suite, new_user: NewUser):
    person = new_user()
    open_screen(page, f"users/{person['id']}", "Sam Sample")
    page.get_by_role("button", name="Send password reset").click()
    expect(page.locator(".toast.good")).to_be_visible()
    address = f"To: {person['email']}".encode()
    outbox = suite.data_dir / "outbox"
    wait_until(lambda: any(address in mail.read_bytes() for mail in outbox.glob("*.eml")), "the mail is there")


def test_a_member_is_added_with_the_collection_s_own_fields(
    page: Page, new_collection: NewCollection, admin_client: httpx.Client
):
    new_collection("guests", [{"name": "room", "type": "text", "required": True}], type="auth")
    open_screen(page, "collections/guests/records", "guests")
    page.get_by_role("link", name="Members").click()
    page.get_by_role("button", name="Add user").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Collection").select_option("guests")
    dialog.get_by_label("E-mail", exact=True).fill("guest@example.com")
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Add user").click()
    expect(dialog.get_by_role("alert")).to_contain_text("room")
    dialog.get_by_label("Own fields").fill("{room: 4}")
    dialog.get_by_role("button", name="Add user").click()
    expect(dialog.get_by_text("Is not JSON.")).to_be_visible()
    dialog.get_by_label("Own fields").fill('{"room": "4"}')
    dialog.get_by_role("button", name="Add user").click()
    expect(page.get_by_role("heading", name="guest@example.com")).to_be_visible()
    (record,) = admin_client.get("/api/v1/collections/guests/records").json()["items"]
    assert record["data"]["room"] == "4"


def test_impersonation_begins_shows_itself_and_ends(
    page: Page, new_user: NewUser, new_collection: NewCollection, admin_client: httpx.Client
):
    new_collection("diaries", [{"name": "text", "type": "text"}, {"name": "writer", "type": "text"}],
                   list_rule="writer = @request.auth.id", view_rule="writer = @request.auth.id")  # fmt: skip
    person = new_user()
    for writer in (person["id"], "somebody else"):
        body = {"data": {"text": f"by {writer}", "writer": writer}}
        assert admin_client.post("/api/v1/collections/diaries/records", json=body).status_code == 201
    open_screen(page, f"users/{person['id']}", "Sam Sample")
    page.get_by_role("button", name="Impersonate").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("Ticket 4711")
    dialog.get_by_label("For").select_option("15 minutes")
    dialog.get_by_role("button", name="Begin").click()

    banner = page.get_by_role("complementary", name="Impersonation")
    expect(banner).to_contain_text(f"You are acting as Sam Sample ({person['email']})")
    expect(banner).to_contain_text(re.compile(r"for another 1[45]:\d\d"))
    expect(row(page, "Ticket 4711")).to_contain_text(ADMIN_EMAIL)
    page.get_by_role("link", name="Records").click()
    page.get_by_label("Collection").select_option("diaries")
    expect(page.get_by_text(f"by {person['id']}")).to_be_visible()
    expect(page.get_by_text("by somebody else")).to_be_hidden()
    expect(banner).to_be_visible()

    banner.get_by_role("button", name="End").click()
    expect(banner).to_be_hidden()
    expect(page.get_by_role("heading", name="Sam Sample")).to_be_visible()

    def actions() -> set[str]:
        answer = admin_client.get("/api/v1/audit", params={"event_type": "admin", "user_id": person["id"]})
        return {one["event_action"] for one in answer.json()["items"]}

    wait_until(lambda: {"impersonation_started", "impersonation_ended"} <= actions(), "both are in the audit log")


def test_an_impersonation_that_is_ended_elsewhere_is_told(
    page: Page, new_user: NewUser, new_collection: NewCollection, admin_client: httpx.Client
):
    person = new_user()
    fields = [{"name": "text", "type": "text"}, {"name": "verdict", "type": "text", "hidden": True}]
    new_collection("letters", fields, list_rule="", view_rule="")
    admin_client.post("/api/v1/collections/letters/records", json={"data": {"text": "Dear all", "verdict": "dull"}})
    open_screen(page, f"users/{person['id']}", "Sam Sample")
    page.get_by_role("button", name="Impersonate").click()
    page.get_by_role("dialog").get_by_label("Reason").fill("Ticket 4713")
    page.get_by_role("dialog").get_by_role("button", name="Begin").click()
    page.get_by_role("link", name="Records").click()
    page.get_by_label("Collection").select_option("letters")
    expect(row(page, "Dear all")).to_be_visible()
    expect(page.get_by_role("columnheader", name="verdict")).to_have_count(0)

    # Both are sessions of the same admin, whose token ends all that they have begun.
    assert admin_client.delete("/api/v1/admin/impersonate").json() == {"ended": True}
    page.get_by_role("link", name="Profile").click()
    expect(page.get_by_text(f"Acting as {person['email']} was ended elsewhere.")).to_be_visible()
    expect(page.get_by_role("complementary", name="Impersonation")).to_be_hidden()


def test_an_impersonation_does_not_outlive_its_page(page: Page, new_user: NewUser, admin_client: httpx.Client):
    person = new_user()
    open_screen(page, f"users/{person['id']}", "Sam Sample")
    page.get_by_role("button", name="Impersonate").click()
    page.get_by_role("dialog").get_by_label("Reason").fill("Ticket 4712")
    page.get_by_role("dialog").get_by_role("button", name="Begin").click()
    expect(page.get_by_role("complementary", name="Impersonation")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(page.get_by_role("complementary", name="Impersonation")).to_be_hidden()
    asked = {"event_action": "impersonation_ended", "user_id": person["id"]}
    wait_until(lambda: admin_client.get("/api/v1/audit", params=asked).json()["total"] == 1, "the grant has ended")


def test_the_audit_log_names_those_who_did_it(
    page: Page, new_user: NewUser, new_collection: NewCollection, admin_client: httpx.Client
):
    def stored(**asked: str) -> bool:
        return bool(admin_client.get("/api/v1/audit", params=asked).json()["total"])

    made = new_collection("named_in_the_log", [{"name": "text", "type": "text"}])
    wait_until(lambda: stored(resource_id=made["id"]), "its making is in the log")
    open_screen(page, "audit", "Audit log", event_type="collection")
    expect(row(page, "'named_in_the_log'")).to_contain_text(ADMIN_EMAIL)

    person = new_user()
    path = f"/api/v1/admin/users/{person['id']}/impersonate"
    grant = admin_client.post(path, json={"reason": "Ticket 4713"}).json()
    bearer = {"Authorization": f"Bearer {grant['access_token']}"}
    admin_client.get("/api/v1/auth/me", headers=bearer)
    admin_client.delete("/api/v1/admin/impersonate", headers=bearer)
    wait_until(lambda: stored(event_action="impersonation_ended", user_id=person["id"]), "its end is in the log")
    open_screen(page, f"users/{person['id']}", "Sam Sample")
    expect(row(page, "GET /api/v1/auth/me while")).to_contain_text(f"{person['email']}by {ADMIN_EMAIL}")
