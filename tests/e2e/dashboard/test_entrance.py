"""Coming in: signing in with and without a second factor, a locked account, leaving."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pyotp
from playwright.sync_api import Page, expect

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.e2e.dashboard.conftest import PASSWORD, open_screen, say_yes, sign_in
from tests.suite import Suite, wait_until


def test_a_wrong_password_is_told_and_a_right_one_comes_in(stranger: Page):
    stranger.goto("/admin")
    sign_in(stranger, ADMIN_EMAIL, "not the password")
    expect(stranger.get_by_role("alert")).to_have_text("Invalid e-mail or password.")
    sign_in(stranger, ADMIN_EMAIL, ADMIN_PASSWORD)
    expect(stranger.get_by_role("heading", name="Overview")).to_be_visible()
    stranger.get_by_role("button", name="Sign out", exact=True).click()
    expect(stranger.get_by_role("heading", name="Sign in")).to_be_visible()
    stranger.reload()
    expect(stranger.get_by_role("heading", name="Sign in")).to_be_visible()


def test_no_script_can_find_a_token(page: Page):
    open_screen(page, "users", "Users")
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("JSON.stringify([localStorage, sessionStorage])") == "[{},{}]"
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/admin/session")


def test_the_second_factor_is_set_up_and_asked_for(
    stranger: Page, admin_client: httpx.Client, new_user: Callable[..., dict[str, Any]]
):
    person = new_user(role="admin")
    assert admin_client.patch("/api/v1/settings/auth", json={"mfa_enabled": True}).status_code == 200
    stranger.goto("/admin/account")
    sign_in(stranger, person["email"], PASSWORD)
    stranger.get_by_role("button", name="Set up").click()
    expect(stranger.get_by_role("img", name="The secret as a QR code")).to_be_visible()
    secret = stranger.get_by_text(re.compile(r"^[A-Z2-7]{16,}$")).inner_text()
    stranger.get_by_label("Code that the app shows").fill(pyotp.TOTP(secret).now())
    stranger.get_by_role("button", name="Switch on").click()
    expect(stranger.get_by_text("Keep these recovery codes.")).to_be_visible()
    codes = stranger.locator(".codes li").all_inner_texts()
    stranger.get_by_role("button", name="Sign out", exact=True).click()

    sign_in(stranger, person["email"], PASSWORD)
    field = stranger.get_by_label("Code of your authenticator app")
    expect(field).to_be_focused()
    field.fill(codes[0])
    stranger.get_by_role("button", name="Sign in").click()
    expect(stranger.get_by_role("heading", name="My account")).to_be_visible()

    expect(stranger.get_by_text("9 recovery codes left.")).to_be_visible()
    code_field = stranger.get_by_label("Code of your app, or a recovery code")
    code_field.fill(codes[1])
    stranger.get_by_role("button", name="Get new codes").click()
    expect(stranger.get_by_role("dialog")).to_contain_text("The old ones do not come back")
    say_yes(stranger, "Get new codes")
    expect(stranger.get_by_text("10 recovery codes left.")).to_be_visible()
    fresh = stranger.locator(".codes li").all_inner_texts()
    assert len(fresh) == 10
    assert not set(fresh) & set(codes)
    stranger.get_by_label("Do", exact=True).select_option("disable")
    for used, told in ((codes[2], "alert"), (fresh[0], "status")):
        code_field.fill(used)
        stranger.get_by_role("button", name="Switch off").click()
        say_yes(stranger, "Switch off")
        expect(stranger.get_by_role(told).filter(has_text=re.compile(r"\w"))).not_to_have_count(0)
    expect(stranger.get_by_role("button", name="Set up")).to_be_visible()
    admin_client.patch("/api/v1/settings/auth", json={"mfa_enabled": False})


def test_ones_own_name_and_password_are_changed_and_all_sessions_ended(
    stranger: Page, suite: Suite, new_user: Callable[..., dict[str, Any]]
):
    person = new_user(role="admin")
    stranger.goto("/admin/account")
    sign_in(stranger, person["email"], PASSWORD)
    stranger.get_by_role("textbox", name="Name").fill("Sam Renamed")
    stranger.get_by_role("button", name="Save").click()
    expect(stranger.get_by_role("link", name="Sam Renamed")).to_be_visible()

    stranger.get_by_label("Current password").fill("not the password")
    stranger.get_by_label("New password").fill("a stapler for the car")
    stranger.get_by_role("button", name="Change password").click()
    expect(stranger.get_by_role("region", name="Password").get_by_role("alert")).to_be_visible()
    stranger.get_by_label("Current password").fill(PASSWORD)
    stranger.get_by_role("button", name="Change password").click()
    expect(stranger.get_by_text("The password is changed.")).to_be_visible()

    stranger.get_by_role("button", name="Sign out everywhere").click()
    say_yes(stranger, "Sign out everywhere")
    expect(stranger.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in(stranger, person["email"], PASSWORD)
    expect(stranger.get_by_role("alert")).to_have_text("Invalid e-mail or password.")
    sign_in(stranger, person["email"], "a stapler for the car")
    expect(stranger.get_by_role("heading", name="My account")).to_be_visible()


def test_a_locked_account_counts_down_until_an_admin_lifts_the_lock(
    stranger: Page, page: Page, new_user: Callable[..., dict[str, Any]]
):
    person = new_user(role="admin")
    stranger.goto("/admin")
    for _ in range(5):
        sign_in(stranger, person["email"], "not the password")
        expect(stranger.get_by_role("alert")).to_be_visible()
        expect(stranger.get_by_role("button", name="Sign in")).not_to_have_attribute("aria-busy", "true")
    sign_in(stranger, person["email"], PASSWORD)
    expect(stranger.get_by_role("heading", name="Account locked")).to_be_visible()
    countdown = stranger.get_by_role("timer")
    expect(countdown).to_have_text(re.compile(r"^(30:00|29:5\d)$"))
    before = countdown.inner_text()
    expect(countdown).not_to_have_text(before)

    open_screen(page, f"users/{person['id']}", "Sam Sample")
    expect(page.get_by_text("Locked", exact=True)).to_be_visible()
    page.get_by_role("button", name="Unlock").click()
    expect(page.get_by_text("Not locked")).to_be_visible()

    stranger.get_by_role("button", name="Sign in with another account").click()
    sign_in(stranger, person["email"], PASSWORD)
    expect(stranger.get_by_role("heading", name="Overview")).to_be_visible()


def test_whose_session_is_ended_elsewhere_is_told_and_comes_back_to_where_they_were(
    stranger: Page, admin_client: httpx.Client, new_user: Callable[..., dict[str, Any]]
):
    person = new_user(role="admin")
    stranger.goto("/admin/ip-rules")
    sign_in(stranger, person["email"], PASSWORD)
    # What is still loading would hear of the end before the click.
    expect(stranger.locator("main .loaded")).to_be_visible()
    admin_client.post(f"/api/v1/admin/users/{person['id']}/revoke-sessions")
    stranger.get_by_role("link", name="Cron jobs").click()
    expect(stranger.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(stranger.get_by_role("status")).to_have_text("Your session has ended. Sign in to go on where you were.")
    sign_in(stranger, person["email"], PASSWORD)
    expect(stranger.get_by_role("heading", name="Cron jobs")).to_be_visible()
    stranger.get_by_role("button", name="Sign out").click()
    expect(stranger.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(stranger.get_by_role("status")).to_have_count(0)


def test_a_user_who_is_no_admin_is_told_so(stranger: Page, new_user: Callable[..., dict[str, Any]]):
    person = new_user()
    stranger.goto("/admin/users")
    sign_in(stranger, person["email"], PASSWORD)
    expect(stranger.get_by_text("The dashboard is for admins")).to_be_visible()


def test_a_forgotten_password_is_set_anew_by_mail(
    stranger: Page, suite: Suite, new_user: Callable[..., dict[str, Any]]
):
    person = new_user(role="admin")
    stranger.goto("/admin")
    stranger.get_by_role("button", name="Forgot the password?").click()
    stranger.get_by_label("E-mail").fill(person["email"])
    stranger.get_by_role("button", name="Send the link").click()
    expect(stranger.get_by_role("status").first).not_to_be_empty()

    def link() -> str:
        mails = [parse(path) for path in (suite.data_dir / "outbox").glob("*.eml")]
        text = next((mail.get_body(("plain",)).get_content() for mail in mails if mail["To"] == person["email"]), "")
        found = re.search(r"https?://\S+/reset-password\?\S+", text)
        return found[0] if found else ""

    address = urlsplit(wait_until(link, "the mail is there"))
    stranger.goto(f"{suite.base_url}{address.path}?{address.query}")
    assert "token" not in stranger.url
    stranger.get_by_label("New password").fill("12345")
    stranger.get_by_role("button", name="Set the password").click()
    expect(stranger.get_by_role("alert")).to_contain_text("Password must be at least 8 characters")
    stranger.get_by_label("New password").fill("quite another stapler")
    stranger.get_by_role("button", name="Set the password").click()
    expect(stranger.get_by_text("The password is set.")).to_be_visible()
    stranger.get_by_role("link", name="Go to the dashboard").click()
    sign_in(stranger, person["email"], "quite another stapler")
    expect(stranger.get_by_role("heading", name="Overview")).to_be_visible()


def parse(path: Path) -> EmailMessage:
    return email.message_from_bytes(path.read_bytes(), _class=EmailMessage, policy=email.policy.default)
