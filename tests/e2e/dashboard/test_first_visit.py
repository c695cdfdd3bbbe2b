"""A suite that nobody has used yet: the first admin, and what it looks like once there is something in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.dashboard.axe_core import both_schemes, findings
from tests.e2e.dashboard.conftest import PASSWORD, open_screen, picture, watched
from tests.suite import Suite, start_suite

EMAIL = "admin@example.com"
# The people of the manual.
PEOPLE = [
    ("John Smith", "john@acme.com", "user", True),
    ("Sara Jones", "sara@startup.io", "user", True),
    ("Dev Account", "dev@company.com", "admin", True),
    (None, "new@user.net", "user", False),
]
ARTICLES = {
    "name": "articles",
    "schema": [
        {"name": "title", "type": "text", "required": True},
        {"name": "body", "type": "editor"},
        {"name": "published", "type": "bool"},
        {"name": "topic", "type": "select", "values": ["news", "guide"]},
    ],
    "list_rule": 'published = true || @request.auth.role = "admin"',
    "view_rule": "",
}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite without an admin."""
    with start_suite(tmp_path_factory.mktemp("fresh") / "data", SETUP_TOKEN="let me in") as running:
        yield running


@pytest.fixture(scope="module")
def first(fresh: Suite, browser: Browser) -> Iterator[Page]:
    """The page of whoever comes first."""
    context = browser.new_context(base_url=fresh.base_url, viewport={"width": 1200, "height": 720})
    with watched(context.new_page(), "first_visit") as page:
        yield page
    context.close()


def test_the_first_visit_makes_the_first_admin(first: Page):
    first.goto("/admin")
    expect(first.get_by_role("heading", name="Welcome")).to_be_visible()
    assert both_schemes(first) == []
    first.emulate_media(color_scheme="light", reduced_motion="no-preference")
    first.get_by_label("E-mail").fill(EMAIL)
    first.get_by_label("Name").fill("Admin User")
    first.get_by_label("Password", exact=True).fill("short")
    first.get_by_label("Password again").fill("shot")
    first.get_by_label("Setup token").fill("let me in")
    first.get_by_role("button", name="Create the first admin").click()
    expect(first.get_by_text("Differs from the password above.")).to_be_visible()
    first.get_by_label("Password again").fill("short")
    first.get_by_role("button", name="Create the first admin").click()
    expect(first.get_by_role("alert")).to_contain_text("Password must be at least 8 characters")
    assert findings(first) == []
    first.get_by_label("Password", exact=True).fill(PASSWORD)
    first.get_by_label("Password again").fill(PASSWORD)
    first.get_by_role("button", name="Create the first admin").click()
    expect(first.get_by_role("heading", name="Overview")).to_be_visible()
    first.reload()
    expect(first.get_by_role("heading", name="Overview")).to_be_visible()


def test_pictures_of_a_suite_in_use(fresh: Suite, first: Page):
    """Those of the README: `cp .build/dashboard/dashboard-*.png docs/images/` brings them up to date."""
    users = fill(fresh)
    open_screen(first, "users", "Users")
    expect(first.get_by_text("Total: 5 users")).to_be_visible()
    picture(first, "dashboard-users")

    open_screen(first, f"users/{users['john@acme.com']}", "John Smith")
    expect(first.get_by_text("Locked", exact=True)).to_be_visible()
    picture(first, "dashboard-locked-user")

    first.emulate_media(color_scheme="dark")
    open_screen(first, "collections/articles/rules", "articles")
    expect(first.get_by_text("Good")).to_be_visible()
    picture(first, "dashboard-rules")


def fill(suite: Suite) -> dict[str, Any]:
    """Some people, one of them locked out, and a collection. Gives ids by e-mail."""
    with httpx.Client(base_url=f"{suite.base_url}/api/v1", trust_env=False) as client:
        token = client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD}).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        ids = {}
        for name, email, role, verified in PEOPLE:
            body = {"email": email, "password": PASSWORD, "name": name, "role": role, "verified": verified}
            ids[email] = client.post("/admin/users", json=body).json()["id"]
        for _ in range(5):
            client.post("/auth/login", json={"email": "john@acme.com", "password": "guess"})
        assert client.post("/collections", json=ARTICLES).status_code == 201
        return ids
