"""Collections and their records."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from tests.e2e.dashboard.conftest import open_screen, row, say_yes
from tests.suite import wait_until

NewCollection = Callable[..., dict[str, Any]]
TITLE = {"name": "title", "type": "text", "required": True}


def add_records(client: httpx.Client, collection: str, *records: dict[str, Any]) -> list[str]:
    body = {"records": [{"data": data} for data in records]}
    answer = client.post(f"/api/v1/collections/{collection}/records/batch", json=body)
    assert answer.json()["failed"] == 0, answer.text
    return [record["id"] for record in answer.json()["records"]]


def test_a_collection_is_made_given_fields_and_deleted(page: Page, admin_client: httpx.Client):
    open_screen(page, "collections", "Collections")
    page.get_by_role("button", name="New collection").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("Not A Name")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("Name").fill("recipes")
    dialog.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="recipes")).to_be_visible()

    page.get_by_role("button", name="Add field").click()
    page.get_by_label("Name", exact=True).fill("course")
    page.get_by_label("Type").select_option("select")
    page.get_by_label("Values").fill("starter\nmain\ndessert")
    page.get_by_role("switch", name="Required").check()
    page.get_by_role("button", name="Save schema").click()
    expect(page.get_by_text("The schema is saved.")).to_be_visible()
    (field,) = admin_client.get("/api/v1/collections/name/recipes").json()["schema"]["fields"]
    assert (field["name"], field["type"], field["required"]) == ("course", "select", True)
    assert field["values"] == ["starter", "main", "dessert"]

    page.get_by_role("button", name="course").first.click()
    page.get_by_label("Name", exact=True).fill("part")
    page.get_by_role("button", name="Save schema").click()

    def stored() -> dict[str, Any]:
        first: dict[str, Any] = admin_client.get("/api/v1/collections/name/recipes").json()["schema"]["fields"][0]
        return first

    wait_until(lambda: stored()["name"] == "part", "the field is renamed")
    assert stored()["id"] == field["id"]

    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Save schema").click()
    say_yes(page, "Remove")
    expect(page.get_by_text("No fields yet")).to_be_visible()
    # Who leaves before it is saved is asked whether they mean it.
    expect(page.locator("form[data-unsaved]")).to_have_count(0)
    page.get_by_role("link", name="Options").click()
    page.get_by_role("button", name="Delete the collection").click()
    say_yes(page, "Delete collection", typed="recipes")
    expect(page.get_by_role("heading", name="Collections")).to_be_visible()
    assert admin_client.get("/api/v1/collections/name/recipes").status_code == 404


def test_rules_are_checked_while_they_are_typed_and_explained(
    page: Page, new_collection: NewCollection, admin_client: httpx.Client
):
    new_collection("notes", [TITLE, {"name": "public", "type": "bool"}])
    shown, hidden = add_records(admin_client, "notes", {"title": "a", "public": True}, {"title": "b", "public": False})
    open_screen(page, "collections/notes/rules", "notes")
    rule = page.get_by_role("region", name="List rule")
    rule.get_by_label("List", exact=True).select_option("Whoever fits an expression")
    expression = rule.get_by_label("List rule as an expression")
    expression.fill("publik = true")
    expect(rule.get_by_text("Unknown field 'publik'")).to_be_visible()
    expect(expression).to_have_attribute("aria-invalid", "true")
    expression.fill("public = true")
    expect(rule.get_by_text("Good")).to_be_visible()
    expect(rule.get_by_text("An index over public would serve it")).to_be_visible()

    page.get_by_label("On the record with the id").fill(hidden)
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_text("They do not get it")).to_be_visible()
    page.get_by_label("On the record with the id").fill(shown)
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_text("They get it")).to_be_visible()

    page.get_by_role("button", name="Save rules").click()
    expect(page.get_by_text("The rules are saved, and in force.")).to_be_visible()
    listed = httpx.get(f"{admin_client.base_url}/api/v1/collections/notes/records", trust_env=False).json()
    assert [record["id"] for record in listed["items"]] == [shown]

    page.get_by_role("link", name="Indexes").click()
    page.get_by_role("button", name="Add index").click()
    page.get_by_label("Name").fill("by_public")
    page.get_by_label("Fields").fill("public, created")
    page.get_by_role("button", name="Save indexes").click()
    expect(page.get_by_text("The indexes are saved.")).to_be_visible()
    assert admin_client.get("/api/v1/collections/name/notes").json()["indexes"][0]["fields"] == ["public", "created"]


def test_what_is_not_saved_is_not_left_behind_unasked(page: Page, new_collection: NewCollection):
    new_collection("drafts", [TITLE])
    open_screen(page, "collections", "Collections")
    page.get_by_role("link", name="drafts", exact=True).click()
    page.get_by_role("button", name="Add field").click()
    page.get_by_label("Name", exact=True).fill("half_done")
    for leave in (page.get_by_role("link", name="Audit log").click, page.go_back):
        leave()
        say_yes(page, "Cancel")
        expect(page.get_by_label("Name", exact=True)).to_have_value("half_done")
        assert page.url.endswith("/collections/drafts")
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.reload()
    assert asked == ["beforeunload"]
    page.get_by_role("button", name="Add field").click()
    page.get_by_role("link", name="Collections", exact=True).first.click()
    say_yes(page, "Leave")
    expect(page.get_by_role("heading", name="Collections")).to_be_visible()
    # What is left as it was asks nothing.
    open_screen(page, "collections/drafts/rules", "drafts")
    page.get_by_role("link", name="Audit log").click()
    expect(page.get_by_role("heading", name="Audit log")).to_be_visible()


def test_a_collection_is_renamed(page: Page, new_collection: NewCollection, admin_client: httpx.Client):
    made = new_collection("old_name", [TITLE])
    open_screen(page, "collections/old_name/options", "old_name")
    name = page.get_by_role("textbox", name="Name")
    name.fill("Not A Name")
    page.get_by_role("button", name="Rename").click()
    expect(name).to_have_attribute("aria-invalid", "true")
    name.fill("new_name")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("heading", name="new_name")).to_be_visible()
    assert admin_client.get("/api/v1/collections/name/new_name").json()["id"] == made["id"]


def test_emptying_a_collection_deals_with_what_points_there_only_when_told(
    page: Page, new_collection: NewCollection, admin_client: httpx.Client
):
    new_collection("owners", [TITLE])
    (owner,) = add_records(admin_client, "owners", {"title": "Ann"})
    new_collection(
        "pets", [TITLE, {"name": "owner", "type": "relation", "collection": "owners", "on_delete": "cascade"}]
    )
    add_records(admin_client, "pets", {"title": "Rex", "owner": owner})
    open_screen(page, "collections/owners/options", "owners")
    page.get_by_role("button", name="Delete all records").click()
    say_yes(page, "Delete all records", typed="owners")
    expect(page.locator(".toast.bad")).to_contain_text("pets")
    assert admin_client.get("/api/v1/collections/owners/records").json()["total"] == 1
    page.get_by_role("switch", name="Deal with records elsewhere").check()
    page.get_by_role("button", name="Delete all records").click()
    say_yes(page, "Delete all records", typed="owners")
    expect(page.get_by_text("1 records of owners are deleted.")).to_be_visible()
    assert admin_client.get("/api/v1/collections/pets/records").json()["total"] == 0


def test_all_records_go_once_the_name_is_typed(page: Page, new_collection: NewCollection, admin_client: httpx.Client):
    new_collection("logs", [TITLE])
    add_records(admin_client, "logs", {"title": "a"}, {"title": "b"})
    open_screen(page, "collections/logs/options", "logs")
    page.get_by_role("button", name="Delete all records").click()
    dialog = page.get_by_role("dialog")
    yes = dialog.get_by_role("button", name="Delete all records")
    expect(yes).to_be_disabled()
    dialog.get_by_role("textbox").fill("log")
    expect(yes).to_be_disabled()
    expect(dialog).to_contain_text("This cannot be undone.")
    say_yes(page, "Delete all records", typed="logs")
    expect(page.get_by_text("2 records of logs are deleted.")).to_be_visible()
    assert admin_client.get("/api/v1/collections/logs/records").json()["total"] == 0


def test_records_are_filtered_sorted_and_walked_through(
    page: Page, new_collection: NewCollection, admin_client: httpx.Client
):
    new_collection("things", [TITLE, {"name": "size", "type": "number"}])
    add_records(admin_client, "things", *({"title": f"thing {number:03}", "size": number} for number in range(120)))
    open_screen(page, "collections/things/records", "things")
    expect(page.get_by_text("Total: 120 records")).to_be_visible()
    page.get_by_role("button", name="title", exact=True).click()
    expect(page.get_by_role("row").nth(1)).to_contain_text("thing 000")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_role("row").nth(1)).to_contain_text("thing 050")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_role("row").nth(1)).to_contain_text("thing 100")
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    page.get_by_role("button", name="Previous").click()
    expect(page.get_by_role("row").nth(1)).to_contain_text("thing 050")
    page.get_by_label("Filter").fill("size > 117 ||")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Filter").fill("size > 117")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("Total: 2 records")).to_be_visible()


def test_records_are_added_changed_in_place_and_deleted(
    page: Page, new_collection: NewCollection, admin_client: httpx.Client
):
    new_collection("writers", [{"name": "name", "type": "text"}])
    # The one that has no name stands at one end of the list, and says nothing of where to search.
    _, ada, _, _ = add_records(admin_client, "writers", {}, {"name": "Ada"}, {"name": "Bob"}, {})
    fields = [TITLE, {"name": "writer", "type": "relation", "collection": "writers"}, {"name": "done", "type": "bool"},
              {"name": "extra", "type": "json"}]  # fmt: skip
    new_collection("books", fields)
    open_screen(page, "collections/books/records", "books")
    expect(page.get_by_text("No records yet")).to_be_visible()
    page.get_by_role("button", name="New record").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("title").fill("Notes")
    dialog.get_by_text("Choose from writers").click()
    dialog.get_by_label("Search writers").fill("ad")
    expect(dialog.get_by_role("button", name="Bob")).to_be_hidden()
    dialog.get_by_role("button", name="Ada", exact=True).click()
    dialog.get_by_label("extra").fill("{not json")
    dialog.get_by_role("button", name="Add record").click()
    expect(dialog.get_by_text("Is not JSON.")).to_be_visible()
    dialog.get_by_label("extra").fill('{"pages": 66}')
    dialog.get_by_role("button", name="Add record").click()
    expect(row(page, "Notes")).to_contain_text("Ada")
    (record,) = admin_client.get("/api/v1/collections/books/records").json()["items"]
    assert record["data"] == {"title": "Notes", "writer": ada, "done": None, "extra": {"pages": 66}}

    row(page, "Notes").get_by_role("button", name="Notes").click()
    page.get_by_role("textbox", name="title").fill("Sketches")
    page.keyboard.press("Enter")
    expect(row(page, "Sketches")).to_be_visible()
    row(page, "Sketches").get_by_role("button", name="change done").click()
    page.get_by_role("combobox", name="done").select_option("true")
    expect(row(page, "Sketches")).to_contain_text("yes")

    row(page, "Sketches").get_by_role("button", name="Edit").click()
    expect(dialog.get_by_label("title")).to_have_value("Sketches")
    path = f"/api/v1/collections/books/records/{record['id']}"
    admin_client.patch(path, json={"data": {"title": "Changed elsewhere"}})
    dialog.get_by_label("title").fill("Too late")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Somebody else has changed this record")
    page.keyboard.press("Escape")
    page.get_by_role("dialog", name="Leave without saving?").get_by_role("button", name="Leave").click()
    expect(dialog).to_be_hidden()
    page.reload()
    row(page, "Changed elsewhere").get_by_role("button", name="Edit").click()
    dialog.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog", name="Delete this record?").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No records yet")).to_be_visible()
    assert admin_client.get(path).status_code == 404


def test_several_records_are_changed_and_deleted_at_once(
    page: Page, new_collection: NewCollection, admin_client: httpx.Client
):
    kinds = {"name": "kinds", "type": "select", "values": ["red", "green", "blue"], "max_select": 2}
    owner = {"name": "owner", "type": "text", "unique": True}
    new_collection("marbles", [TITLE, {"name": "size", "type": "number", "max": 9}, kinds, owner])
    add_records(admin_client, "marbles", *({"title": f"marble {number}", "size": number} for number in range(4)))
    open_screen(page, "collections/marbles/records", "marbles", sort="title")

    def values(name: str) -> list[Any]:
        found = admin_client.get("/api/v1/collections/marbles/records", params={"sort": "title"}).json()["items"]
        return [record["data"][name] for record in found]

    def choose(*numbers: int) -> None:
        for number in numbers:
            row(page, f"marble {number}").get_by_role("checkbox").check()

    choose(0, 2)
    page.get_by_role("button", name="Change…").click()
    dialog = page.get_by_role("dialog", name="Change 2 records")
    dialog.get_by_label("Field").select_option("size")
    dialog.get_by_label("size", exact=True).fill("77")
    dialog.get_by_role("button", name="Change 2 records").click()
    expect(dialog.get_by_text("must be at most 9")).to_be_visible()
    dialog.get_by_label("size", exact=True).fill("7")
    dialog.get_by_role("button", name="Change 2 records").click()
    expect(page.get_by_text("2 records changed.")).to_be_visible()
    assert values("size") == [7, 1, 7, 3]
    choose(0, 2)
    page.get_by_role("button", name="Change…").click()
    dialog.get_by_label("Field").select_option("owner")
    dialog.get_by_label("owner", exact=True).fill("Kim")
    dialog.get_by_role("button", name="Change 2 records").click()
    expect(page.locator(".toast.bad")).to_contain_text("1 record changed, 1 refused and still chosen: owner is")
    expect(page.get_by_text("1 record chosen")).to_be_visible()

    page.get_by_role("checkbox", name="Choose all on this page").check()
    page.get_by_role("button", name="Change…").click()
    page.get_by_label("Field").select_option("kinds")
    page.get_by_role("checkbox", name="red").check()
    page.get_by_role("checkbox", name="blue").check()
    page.get_by_role("button", name="Change 4 records").click()
    expect(page.get_by_text("4 records changed.")).to_be_visible()
    assert values("kinds") == [["red", "blue"]] * 4

    choose(3)
    page.get_by_role("button", name="Delete…").click()
    expect(page.get_by_role("dialog")).to_contain_text("This cannot be undone.")
    say_yes(page, "Delete 1 record")
    expect(page.get_by_text("Total: 3 records")).to_be_visible()
    assert values("title") == ["marble 0", "marble 1", "marble 2"]


def test_records_go_out_and_come_in_as_files(
    page: Page, new_collection: NewCollection, admin_client: httpx.Client, tmp_path: Path
):
    new_collection("cities", [TITLE])
    add_records(admin_client, "cities", {"title": "Oslo"}, {"title": "Rome"})
    open_screen(page, "collections/cities/records", "cities")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Export NDJSON").click()
    saved.value.save_as(tmp_path / "cities.ndjson")
    titles = {json.loads(line)["data"]["title"] for line in (tmp_path / "cities.ndjson").read_text().splitlines()}
    assert titles == {"Oslo", "Rome"}

    (tmp_path / "more.ndjson").write_text('{"data": {"title": "Lima"}}\n{"data": {}}\n{"data": {"title": "Kyiv"}}\n')
    page.get_by_role("button", name="Import").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("File").set_input_files(tmp_path / "more.ndjson")
    dialog.get_by_role("button", name="Import").click()
    expect(dialog.get_by_role("status")).to_contain_text(re.compile("2 added, 1 refused"))
    expect(dialog.get_by_role("status")).to_contain_text("Line 2")
    with page.expect_download() as saved:
        dialog.get_by_role("button", name="Close").last.click()
        expect(page.get_by_text("Total: 4 records")).to_be_visible()
        page.get_by_role("button", name="Export CSV").click()
    saved.value.save_as(tmp_path / "cities.csv")
    assert len((tmp_path / "cities.csv").read_text().splitlines()) == 5
    (tmp_path / "other.csv").write_text("name\nQuito\n")
    (tmp_path / "more.csv").write_text("title\nQuito\n")
    page.get_by_role("button", name="Import").click()
    dialog.get_by_label("File").set_input_files(tmp_path / "other.csv")
    dialog.get_by_role("button", name="Import").click()
    expect(dialog.get_by_role("alert")).to_contain_text("name")
    dialog.get_by_label("File").set_input_files(tmp_path / "more.csv")
    dialog.get_by_role("button", name="Import").click()
    expect(dialog.get_by_role("status")).to_contain_text("1 added, 0 refused")


def test_an_import_tells_how_far_it_is(page: Page, new_collection: NewCollection, tmp_path: Path):
    new_collection("stars", [TITLE])
    open_screen(page, "collections/stars/records", "stars")
    page.get_by_role("button", name="Import").click()
    dialog = page.get_by_role("dialog")
    (tmp_path / "stars.csv").write_text("title\nVega\n")
    dialog.get_by_label("File").set_input_files(tmp_path / "stars.csv")
    start = dialog.get_by_role("button", name="Import")
    with slow_import() as (address, go_on):
        page.route("**/import*", lambda route: route.continue_(url=address))
        start.click()
        expect(dialog.get_by_text("900 lines so far: 890 added, 10 refused.")).to_be_visible()
        expect(start).to_be_disabled()
        go_on.set()
        expect(dialog.get_by_role("status")).to_contain_text("1,000 added, 12 refused.")
    answers = [{"body": '{"line": 900, "crea'}, {"status": 413, "body": json.dumps({"detail": "Too much."})}]
    page.unroute("**/import*")
    page.route("**/import*", lambda route: route.fulfill(**answers.pop(0)))
    for told in ("The connection was lost on the way.", "Too much."):
        start.click()
        expect(dialog.get_by_role("alert")).to_contain_text(told)


@contextmanager
def slow_import() -> Iterator[tuple[str, Event]]:
    """A server that stands for one that has much to take in: its address, and what lets it come to an end."""
    go_on = Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "application/x-ndjson")
            self.end_headers()
            self.wfile.write(b'{"line": 900, "created": 890, "failed": 10}\n')
            self.wfile.flush()
            go_on.wait(15)
            self.wfile.write(b'{"created": 1000, "failed": 12, "errors": []}\n')

        def log_message(self, *_: object) -> None:
            """Nothing: the test says what matters."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", go_on
        server.shutdown()
