"""The dashboard in a real Chromium, in front of the real suite."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.suite import Suite

# The first has no windows to draw, and takes half the time.
CHROMIUMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, CHROMIUMS)), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PICTURES = Path(__file__).parents[3] / ".build" / "dashboard"
PASSWORD = "a stapler for the battery"
# What the browser itself says about an answer that is an error; every test that wants one looks at the page instead.
EXPECTED = re.compile(
    r"Failed to load resource: (the server responded with a status of (4\d\d|503)|net::ERR_INTERNET_DISC)"
)

expect.set_options(timeout=10_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    # Closed with the module: while it is there no asyncio test can run.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def admin_context(browser: Browser, suite: Suite) -> Iterator[BrowserContext]:
    """A browser in which the first admin is signed in."""
    context = browser.new_context(base_url=suite.base_url, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto("/admin")
    sign_in(page, ADMIN_EMAIL, ADMIN_PASSWORD)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.close()
    yield context
    context.close()


@pytest.fixture
def page(admin_context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of the signed-in admin. What the browser complains about fails the test; a failure leaves a picture."""
    with watched(admin_context.new_page(), request.node.name) as page:
        yield page


@pytest.fixture
def stranger(browser: Browser, suite: Suite, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of a browser in which nobody is signed in."""
    context = browser.new_context(base_url=suite.base_url)
    with watched(context.new_page(), request.node.name) as page:
        yield page
    context.close()


class watched:  # noqa: N801 - reads as a function
    """A page that is looked after: no errors of scripts, nothing that the content policy had to stop."""

    def __init__(self, page: Page, name: str) -> None:
        self._page = page
        self._name = re.sub(r"\W+", "_", name)
        self._complaints: list[str] = []

    def __enter__(self) -> Page:
        self._page.set_default_timeout(15_000)
        self._page.on("pageerror", lambda error: self._complaints.append(str(error)))
        self._page.on("console", self._listen)
        return self._page

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            picture(self._page, self._name)
        self._page.close()
        if kind is None:
            assert self._complaints == []

    def _listen(self, message: Any) -> None:
        if message.type in ("error", "warning") and not EXPECTED.match(message.text):
            self._complaints.append(message.text)


def picture(page: Page, name: str) -> None:
    """Keeps what the page looks like as an artefact of the run."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name.replace('/', '_').replace('?', '_')}.png")


def look(page: Page, name: str) -> None:
    """A picture of a screen that is as it should be, for whoever asks with PICTURES=1."""
    if os.environ.get("PICTURES"):
        picture(page, name)


def sign_in(page: Page, email: str, password: str) -> None:
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def open_screen(page: Page, path: str, title: str, **query: str) -> None:
    """Loads a screen by its address and waits until it is there."""
    page.goto(f"/admin/{path}" + (f"?{urlencode(query)}" if query else ""))
    expect(page.get_by_role("heading", name=title, level=1)).to_be_visible()


def say_yes(page: Page, button: str, typed: str | None = None) -> None:
    """Confirms what a dialog asks."""
    dialog = page.get_by_role("dialog")
    if typed is not None:
        dialog.get_by_role("textbox").fill(typed)
    dialog.get_by_role("button", name=button, exact=True).click()
    expect(dialog).to_be_hidden()


def row(page: Page, text: str) -> Any:
    return page.get_by_role("row").filter(has_text=text)


@pytest.fixture
def new_user(admin_client: httpx.Client, request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    """A function that makes a user of the test's own."""

    def make(**changes: Any) -> dict[str, Any]:
        email = f"{re.sub(r'[^a-z]+', '.', request.node.name.lower())[:50].strip('.')}@example.com"
        body = {"email": email, "password": PASSWORD, "name": "Sam Sample", "role": "user", "verified": True} | changes
        answer = admin_client.post("/api/v1/admin/users", json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    return make


@pytest.fixture
def new_collection(admin_client: httpx.Client) -> Iterator[Callable[..., dict[str, Any]]]:
    """A function that makes a collection, gone after the test."""
    made: list[str] = []

    def make(name: str, fields: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        answer = admin_client.post("/api/v1/collections", json={"name": name, "schema": {"fields": fields}} | options)
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["id"])
        collection: dict[str, Any] = answer.json()
        return collection

    yield make
    for id in reversed(made):
        admin_client.delete(f"/api/v1/collections/{id}")
