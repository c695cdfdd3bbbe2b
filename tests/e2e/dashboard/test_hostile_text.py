"""Text that strangers wrote, wherever it is shown: it stays text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.e2e.dashboard.conftest import open_screen

HOSTILE = '<img src=x onerror="window.hacked = true"><script>window.hacked = true</script>'
RUNS = "javascript:window.hacked=true"
FIELDS = [
    {"name": "title", "type": "text"},
    {"name": "long", "type": "editor"},
    {"name": "site", "type": "url"},
    {"name": "choice", "type": "select", "values": [HOSTILE]},
    {"name": "several", "type": "select", "values": [HOSTILE, "calm"], "max_select": 2},
    {"name": "extra", "type": "json"},
    {"name": "other", "type": "relation", "collection": "hostile_names"},
]


@pytest.fixture
def hostile(
    admin_client: httpx.Client,
    new_collection: Callable[..., dict[str, Any]],
    new_user: Callable[..., dict[str, Any]],
) -> Iterator[dict[str, str]]:
    """The text in whatever takes text. Gives the ids of what is looked at by id."""

    def post(path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        answer = admin_client.post(f"/api/v1{path}", json=body, headers=headers)
        assert answer.status_code in (200, 201), answer.text
        made: dict[str, Any] = answer.json()
        return made

    new_collection("hostile_names", [FIELDS[0]])
    new_collection("hostile", FIELDS)
    other = post("/collections/hostile_names/records", {"data": {"title": HOSTILE}})
    data = {"title": HOSTILE, "long": HOSTILE, "choice": HOSTILE, "several": [HOSTILE], "extra": {HOSTILE: HOSTILE},
            "other": other["id"]}  # fmt: skip
    record = post("/collections/hostile/records", {"data": data})
    person = new_user(name=HOSTILE)
    rule = post("/admin/ip-rules", {"cidr": "198.51.100.0/24", "rule_type": "block", "reason": HOSTILE})
    provider = {
        "name": "hostile",
        "kind": "github",
        "display_name": HOSTILE,
        "client_id": HOSTILE,
        "client_secret": "x",
    }
    provider_id = post("/admin/oauth-providers", provider)["id"]
    job = {"name": "hostile", "interval": "24h", "type": "truncate", "collection": "hostile_names"}
    post("/admin/cron", job | {"description": HOSTILE})
    post("/auth/login", {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}, **{"User-Agent": HOSTILE})
    yield {"record": record["id"], "person": person["id"]}
    for path in (f"ip-rules/{rule['id']}", f"oauth-providers/{provider_id}", "cron/hostile"):
        assert admin_client.delete(f"/api/v1/admin/{path}").status_code < 300


def harmless(page: Page, place: str, *, shown: bool = True) -> None:
    """Nothing of it ran, nothing of it became an element, and it is there to be read."""
    expect(page.locator(".late, [aria-busy=true]")).to_have_count(0)
    if shown:
        expect(page.locator("main, dialog").get_by_text("<img src=x").first).to_be_attached()
    assert page.evaluate("window.hacked") is None, place
    assert page.locator("body img, body script, [href^='javascript:']").count() == 0, place


def test_script_in_text_is_shown_as_text_on_every_screen(page: Page, hostile: dict[str, str]):
    places = [
        ("collections/hostile", "hostile"),
        ("collections/hostile/records", "hostile"),
        (f"collections/hostile/records?record={hostile['record']}", "hostile"),
        ("users?search=img", "Users"),
        (f"users/{hostile['person']}", HOSTILE),
        ("ip-rules", "IP rules"),
        ("settings/oauth", "Settings"),
        ("cron", "Cron jobs"),
        ("cron/hostile", "hostile"),
        ("account", "My account"),
    ]
    for path, title in places:
        open_screen(page, path, title)
        if path == "collections/hostile":
            page.get_by_role("button", name="choice").first.click()
            harmless(page, path, shown=False)
            expect(page.get_by_label("Values")).to_have_value(HOSTILE)
        else:
            harmless(page, path)
    open_screen(page, "audit", "Audit log", event_action="ip_rule_created")
    page.get_by_role("button", name="198.51.100.0/24").first.click()
    harmless(page, "the details of an event")


def test_script_in_questions_banners_and_addresses_is_shown_as_text(page: Page, hostile: dict[str, str]):
    open_screen(page, "settings/oauth", "Settings")
    page.get_by_role("button", name="Delete hostile").click()
    expect(page.get_by_role("dialog")).to_contain_text("<img src=x")
    harmless(page, "a question")
    open_screen(page, "users", "Users", search=HOSTILE, role=HOSTILE)
    harmless(page, "a filter that the server refuses", shown=False)
    open_screen(page, "collections/hostile/records", "hostile", filter=HOSTILE)
    expect(page.get_by_role("alert")).to_be_visible()
    harmless(page, "a filter of records", shown=False)
    open_screen(page, quote(HOSTILE, safe=""), "Nothing here")
    harmless(page, "an address", shown=False)
    open_screen(page, f"collections/{quote(HOSTILE, safe='')}", HOSTILE)
    harmless(page, "the name of a collection in an address")

    open_screen(page, f"users/{hostile['person']}", HOSTILE)
    page.get_by_role("button", name="Impersonate").click()
    page.get_by_role("dialog").get_by_label("Reason").fill(HOSTILE)
    page.get_by_role("dialog").get_by_role("button", name="Begin").click()
    banner = page.get_by_role("complementary", name="Impersonation")
    expect(banner).to_contain_text("<img src=x")
    harmless(page, "while acting")
    banner.get_by_role("button", name="End").click()
    expect(banner).to_be_hidden()


def test_an_address_that_runs_script_is_no_link(
    page: Page, new_collection: Callable[..., dict[str, Any]], admin_client: httpx.Client
):
    new_collection("places", [{"name": "site", "type": "text"}])
    admin_client.post("/api/v1/collections/places/records", json={"data": {"site": RUNS}})
    open_screen(page, "collections/places/records", "places")
    expect(page.get_by_text(RUNS)).to_be_visible()
    harmless(page, "a record", shown=False)
