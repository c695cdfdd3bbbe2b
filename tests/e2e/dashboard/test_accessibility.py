"""Every screen for everyone: axe-core, keyboards, narrow and wide windows, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.e2e.dashboard.axe_core import both_schemes, findings
from tests.e2e.dashboard.conftest import look, open_screen, sign_in
from tests.suite import Suite

SCREENS = {
    "": "Overview",
    "users": "Users",
    "users/{user}": "Sam Sample",
    "collections": "Collections",
    "collections/shelves": "shelves",
    "collections/shelves/rules": "shelves",
    "collections/shelves/indexes": "shelves",
    "collections/shelves/records": "shelves",
    "collections/shelves/records?record=new": "shelves",
    "collections/shelves/options": "shelves",
    "audit": "Audit log",
    "cron": "Cron jobs",
    "cron/collect_metrics": "collect_metrics",
    "ip-rules": "IP rules",
    "settings/authentication": "Settings",
    "settings/password": "Settings",
    "settings/security": "Settings",
    "settings/rate-limits": "Settings",
    "settings/mail": "Settings",
    "settings/general": "Settings",
    "settings/oauth": "Settings",
    "account": "My account",
    "nowhere": "Nothing here",
}
# How much of the window moved while the screen was loading, that nobody had asked to.
LAYOUT_SHIFT = """() => new Promise((resolve) => {
  let sum = 0;
  const add = (entry) => (sum += entry.hadRecentInput ? 0 : entry.value);
  new PerformanceObserver((list) => list.getEntries().forEach(add)).observe({ type: "layout-shift", buffered: true });
  // What was noted before is handed over in a task of its own.
  setTimeout(() => resolve(sum), 50);
})"""
WINDOWS = ((320, 640), (768, 1024), (3840, 640))


@pytest.fixture(scope="module")
def user_id(admin_client: httpx.Client) -> Iterator[str]:
    """A user with a record and a rule around, so that no screen is empty."""
    body: dict[str, Any] = {
        "email": "sam.sample@example.com",
        "password": "a stapler for the battery",
        "name": "Sam Sample",
    }
    user = admin_client.post("/api/v1/admin/users", json=body).json()
    fields = [{"name": "label", "type": "text", "required": True}, {"name": "full", "type": "bool"},
              {"name": "kind", "type": "select", "values": ["oak", "pine"]},
              {"name": "place", "type": "geopoint"}, {"name": "w" * 63, "type": "text"}]  # fmt: skip
    body = {"name": "shelves", "schema": {"fields": fields}, "list_rule": "full = false"}
    shelves = admin_client.post("/api/v1/collections", json=body).json()
    for number in range(3):
        data = {"label": f"shelf {number}", "full": bool(number), "kind": "oak"}
        admin_client.post("/api/v1/collections/shelves/records", json={"data": data})
    rule = admin_client.post("/api/v1/admin/ip-rules", json={"cidr": "192.0.2.0/24", "rule_type": "block"}).json()
    yield user["id"]
    admin_client.delete(f"/api/v1/admin/ip-rules/{rule['id']}")
    admin_client.delete(f"/api/v1/collections/{shelves['id']}")
    admin_client.delete(f"/api/v1/admin/users/{user['id']}")


def settle(page: Page) -> None:
    """Waits until everything on the screen is loaded."""
    expect(page.locator(".late, main [aria-busy=true]")).to_have_count(0)


@pytest.mark.parametrize("path", SCREENS)
def test_every_screen_is_for_every_eye_and_every_window(page: Page, user_id: str, path: str):
    page.emulate_media(reduced_motion="reduce", color_scheme="light")
    open_screen(page, path.format(user=user_id), SCREENS[path])
    settle(page)
    # The bound of what Web Vitals calls good.
    assert page.evaluate(LAYOUT_SHIFT) < 0.1
    name = f"screen_{path.format(user='id') or 'overview'}"
    look(page, f"{name}_light")
    assert findings(page) == []
    page.emulate_media(color_scheme="dark")
    look(page, f"{name}_dark")
    # Dark differs in colours only.
    assert findings(page, "color-contrast") == []
    for width, height in WINDOWS:
        page.set_viewport_size({"width": width, "height": height})
        excess = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if path == "users":
            look(page, f"{name}_{width}")
        assert excess <= 0, f"wider than a window of {width}"


def test_axe_finds_nothing_serious_at_the_entrance(stranger: Page):
    stranger.goto("/admin")
    expect(stranger.get_by_role("heading", name="Sign in")).to_be_visible()
    assert both_schemes(stranger) == []
    for _ in range(5):
        sign_in(stranger, "nobody.at.all@example.com", "wrong")
        expect(stranger.get_by_role("button", name="Sign in")).to_have_attribute("aria-busy", "false")
    assert both_schemes(stranger) == []
    sign_in(stranger, "nobody.at.all@example.com", "wrong")
    expect(stranger.get_by_role("heading", name="Account locked")).to_be_visible()
    assert both_schemes(stranger) == []
    stranger.goto("/reset-password?token=x")
    expect(stranger.get_by_role("heading", name="Set a new password")).to_be_visible()
    assert both_schemes(stranger) == []


# Where each dialog is, and what opens it.
DIALOGS = (
    ("users", "Users", "Add user"),
    ("users/{user}", "Sam Sample", "Edit"),
    ("users/{user}", "Sam Sample", "Impersonate"),
    ("users/{user}", "Sam Sample", "Disable"),
    ("collections", "Collections", "New collection"),
    ("collections/shelves/records", "shelves", "Import"),
    ("collections/shelves/records", "shelves", "Edit"),
    ("collections/shelves/options", "shelves", "Delete the collection"),
    ("audit", "Audit log", "Signed in with password"),
    ("cron", "Cron jobs", "Add job"),
    ("ip-rules", "IP rules", "Add rule"),
    ("settings/oauth", "Settings", "Add provider"),
    ("account", "My account", "Sign out everywhere"),
)


def test_axe_finds_nothing_serious_in_any_dialog(page: Page, user_id: str):
    found: dict[str, list[str]] = {}
    shown = ""
    for path, title, button in DIALOGS:
        if path == shown:
            page.keyboard.press("Escape")
            expect(page.get_by_role("dialog")).to_have_count(0)
        else:
            open_screen(page, path.format(user=user_id), title)
            settle(page)
        shown = path
        page.get_by_role("button", name=button).first.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        settle(page)
        focused = page.evaluate("document.activeElement.closest('dialog') && document.activeElement.tagName")
        assert focused in ("INPUT", "SELECT", "TEXTAREA", "BUTTON"), button
        look(page, f"dialog_{button}")
        if bad := both_schemes(page):
            found[button] = bad
    open_screen(page, "collections/shelves/records", "shelves")
    page.get_by_role("checkbox").nth(1).check()
    page.get_by_role("button", name="Change…").click()
    found["Change…"] = both_schemes(page)
    page.get_by_role("dialog").get_by_label("label", exact=True).fill("anew")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Leave without saving?")).to_be_visible()
    found["Leave"] = both_schemes(page)
    assert {name: bad for name, bad in found.items() if bad} == {}


def test_axe_finds_nothing_serious_while_acting_as_somebody(page: Page, user_id: str):
    open_screen(page, f"users/{user_id}", "Sam Sample")
    page.get_by_role("button", name="Impersonate").click()
    page.get_by_role("dialog").get_by_label("Reason").fill("To look at it")
    page.get_by_role("dialog").get_by_role("button", name="Begin").click()
    banner = page.get_by_role("complementary", name="Impersonation")
    expect(banner).to_be_visible()
    settle(page)
    assert both_schemes(page) == []
    page.get_by_role("link", name="Records").click()
    page.get_by_label("Collection").select_option("shelves")
    settle(page)
    assert both_schemes(page) == []
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    banner.get_by_role("button", name="End").click()
    expect(banner).to_be_hidden()


def test_keys_alone_sign_in_and_change_a_setting(stranger: Page):
    stranger.goto("/admin/settings/security")
    expect(stranger.get_by_label("E-mail")).to_be_focused()
    keys = stranger.keyboard
    keys.type(ADMIN_EMAIL)
    keys.press("Tab")
    keys.type(ADMIN_PASSWORD)
    keys.press("Enter")
    expect(stranger.get_by_role("heading", name="Settings")).to_be_focused()
    settle(stranger)
    step_to(stranger, "Length of a lock")
    keys.press("ArrowUp")
    expect(stranger.get_by_text("One change")).to_be_visible()
    step_to(stranger, "Discard")
    keys.press("Enter")
    expect(stranger.get_by_label("Length of a lock")).to_have_value("1800")


def test_keys_alone_change_a_record_in_place(page: Page, user_id: str):
    open_screen(page, "collections/shelves/records", "shelves", sort="label")
    settle(page)
    step_to(page, "change label", steps=40)
    cell, field = page.get_by_role("button", name="change label").first, page.get_by_role("textbox", name="label")
    for text, end, shown in (("not this", "Escape", "shelf 0"), ("shelf 0 by keys", "Enter", "shelf 0 by keys")):
        expect(cell).to_be_focused()
        page.keyboard.press("Enter")
        expect(field).to_be_focused()
        page.keyboard.press("Control+A")
        page.keyboard.type(text)
        page.keyboard.press(end)
        expect(cell).to_have_text(f"{shown}, change label")
    expect(cell).to_be_focused()


# What is written on it, where it is something to press or to fill in; and whether that is seen.
HAS_FOCUS = """() => {
  const element = document.activeElement, own = element.matches("a, button, input, select");
  return [own ? (element.labels?.[0] ?? element).textContent : "", getComputedStyle(element).outlineStyle];
}"""


def step_to(page: Page, name: str, steps: int = 25) -> None:
    """Presses Tab until a button, a link or a field of that name has the focus, which is seen all the way."""
    for _ in range(steps):
        page.keyboard.press("Tab")
        text, outline = page.evaluate(HAS_FOCUS)
        assert outline != "none", text
        if name in text:
            return
    raise AssertionError(f"{name} is not within {steps} steps")


def test_keys_alone_lead_everywhere(page: Page, user_id: str):
    open_screen(page, "users", "Users", search="sam.sample")
    settle(page)
    expect(page.get_by_role("heading", name="Users")).to_be_focused()
    page.get_by_label("Search").focus()
    steps = 0
    while not page.evaluate("document.activeElement.matches('td a')"):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", page.evaluate("document.activeElement.outerHTML")
        steps += 1
        assert steps < 20
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Sam Sample")).to_be_focused()
    button = page.get_by_role("button", name="Delete", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()


def test_the_menu_of_a_narrow_window_opens_and_closes(page: Page):
    page.set_viewport_size({"width": 360, "height": 700})
    open_screen(page, "audit", "Audit log")
    link = page.get_by_role("link", name="Users")
    expect(link).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    link.click()
    expect(page.get_by_role("heading", name="Users")).to_be_visible()
    expect(link).to_be_hidden()


def test_the_dashboard_asks_nobody_but_its_own_gateway(browser: Browser, page: Page, suite: Suite):
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for path, title in (("", "Overview"), ("users", "Users"), ("settings", "Settings")):
        open_screen(page, path, title)
        settle(page)
    assert asked
    assert [url for url in asked if not url.startswith((suite.base_url, "data:"))] == []
    expect(page.get_by_text(ADMIN_EMAIL).first).to_be_attached()
