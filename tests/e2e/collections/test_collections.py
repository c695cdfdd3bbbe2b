"""Collections and records over HTTP, through every process: what a client of the public API sees."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.suite import Suite

HOSTILE = [
    "' OR 1=1 --",
    '"; DROP TABLE x; --',
    "$where",
    '{"$gt": ""}',
    "a.$b",
    "__proto__",
    "constructor.prototype",
    "\u0000",
    "%00",
    "../../etc/passwd",
    "{{7*7}}",
    "sqlite_master",
    "(((((((((((((((((((((((((((((((((((((((((",
    "title = 'x' && " * 250,
    "title ~ '%%%%%%%%%%%%%%%%%%%%%%%%%'",
    "𝕏",
    "'",
    "\\",
    "-",
    ",",
    "1e400",
    "9" * 4000,
]


@pytest.fixture
def name(admin_client: httpx.Client) -> Iterator[str]:
    """A collection of posts under a name of its own."""
    made = "posts_" + uuid.uuid4().hex[:8]
    fields = [
        {"name": "title", "type": "text", "required": True},
        {"name": "n", "type": "number"},
        {"name": "tags", "type": "select", "values": ["a", "b"], "max_select": 2},
        {"name": "meta", "type": "json"},
        {"name": "secret", "type": "text", "hidden": True},
    ]
    answer = admin_client.post(
        "/api/v1/collections", json={"name": made, "schema": fields, "list_rule": "", "view_rule": ""}
    )
    assert answer.status_code == 201, answer.text
    assert [field["name"] for field in answer.json()["schema"]["fields"]] == ["title", "n", "tags", "meta", "secret"]
    yield f"/api/v1/collections/{made}"
    admin_client.delete(f"/api/v1/collections/{answer.json()['id']}")


def test_a_records_life(admin_client: httpx.Client, name: str) -> None:
    made = admin_client.post(
        f"{name}/records",
        content=b'{"data": {"title": "t", "n": 9007199254740993, "meta": [1, 1.0]}}',
        headers={"Content-Type": "application/json"},
    )
    assert made.status_code == 201
    assert b'"n":9007199254740993,' in made.content
    assert b'"meta":[1,1.0]' in made.content
    at = f"{name}/records/{made.json()['id']}"
    read = admin_client.get(at)
    assert read.json() == made.json()
    etag = read.headers["etag"]
    assert admin_client.get(at, headers={"If-None-Match": etag}).status_code == 304
    changed = admin_client.patch(at, json={"data": {"n+": 1, "tags+": ["a"]}}, headers={"If-Match": etag})
    assert changed.json()["data"]["n"] == 9007199254740994
    assert changed.json()["data"]["tags"] == ["a"]
    stale = admin_client.patch(at, json={"data": {"n": 1}}, headers={"If-Match": etag})
    assert stale.status_code == 412
    assert admin_client.delete(at).status_code == 204
    gone = admin_client.get(at)
    assert (gone.status_code, gone.json()["code"]) == (404, "RECORD_NOT_FOUND")


def test_many_records_in_one_request(admin_client: httpx.Client, name: str) -> None:
    batch = admin_client.post(
        f"{name}/records/batch",
        json={"records": [{"data": {"title": "a", "n": 1}}, {"data": {}}, {"data": {"title": "b"}}]},
    )
    assert batch.status_code == 201
    assert (batch.json()["created"], batch.json()["failed"]) == (2, 1)
    assert batch.json()["errors"][0]["errors"] == [{"field": "data.title", "message": "is required"}]
    atomic = admin_client.post(
        f"{name}/records/batch?atomic=true", json={"records": [{"data": {"title": "c"}}, {"data": {"title": 1}}]}
    )
    assert (atomic.status_code, atomic.json()["errors"][0]["field"]) == (422, "records[1].data.title")
    ids = [record["id"] for record in batch.json()["records"]]
    updated = admin_client.post(f"{name}/records/bulk-update", json={"record_ids": ids, "data": {"n+": 1}})
    assert updated.json() == {"success": 2, "failed": 0, "errors": []}
    upserted = admin_client.post(
        f"{name}/records/upsert", json={"records": [{"id": ids[0], "data": {"title": "z"}}, {"data": {"title": "new"}}]}
    )
    assert (upserted.json()["created"], upserted.json()["updated"]) == (1, 1)
    deleted = admin_client.post(f"{name}/records/bulk-delete", json={"record_ids": ids})
    assert deleted.json()["success"] == 2
    assert admin_client.get(f"{name}/records").json()["total"] == 1


def test_an_export_is_imported(admin_client: httpx.Client, name: str) -> None:
    records = [{"data": {"title": f"t{n}", "n": n, "tags": ["a"], "meta": {"k": n}}} for n in range(500)]
    assert admin_client.post(f"{name}/records/batch", json={"records": records}).json()["created"] == 500
    for form, content_type in (("ndjson", "application/x-ndjson"), ("csv", "text/csv")):
        export = admin_client.get(f"{name}/records/export", params={"format": form})
        assert export.status_code == 200
        assert export.headers["content-type"].startswith(content_type)
        short = name.rsplit("/", 1)[1]
        truncated = admin_client.delete(f"/api/v1/collections/name/{short}/truncate")
        assert truncated.json() == {"deleted_count": 500, "collection": short}
        answer = admin_client.post(
            f"{name}/records/import", content=export.content, headers={"Content-Type": content_type}
        )
        assert answer.json() == {"created": 500, "failed": 0, "errors": []}
    lines = [json.loads(line)["data"]["n"] for line in export.text.splitlines()] if form == "ndjson" else range(500)
    assert sorted(lines) == list(range(500))


def test_a_cursor_walks_a_list(admin_client: httpx.Client, name: str) -> None:
    records = [{"data": {"title": "t", "n": n % 7}} for n in range(100)]
    admin_client.post(f"{name}/records/batch", json={"records": records})
    seen: list[str] = []
    params: dict[str, Any] = {"sort": "-n", "per_page": 9, "skip_total": "true"}
    while params.get("cursor", "") is not None:
        page = admin_client.get(f"{name}/records", params=params).json()
        assert page["total"] is None
        seen += [item["id"] for item in page["items"]]
        params["cursor"] = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 100


def test_a_member_has_what_is_theirs(suite: Suite, admin_client: httpx.Client) -> None:
    realm, notes = (f"{kind}_{uuid.uuid4().hex[:8]}" for kind in ("people", "notes"))
    made = admin_client.post(
        "/api/v1/collections", json={"name": realm, "type": "auth", "schema": [{"name": "team", "type": "text"}]}
    )
    assert made.status_code == 201, made.text
    mine = "owner = @request.auth.id"
    made = admin_client.post(
        "/api/v1/collections",
        json={
            "name": notes,
            "schema": [{"name": "text", "type": "text"}, {"name": "owner", "type": "relation", "collection": realm}],
            **{f"{rule}_rule": mine for rule in ("view", "update", "delete", "create")},
            "list_rule": f"{mine} || owner.team = @request.auth.team",
        },
    )
    assert made.status_code == 201, made.text
    with httpx.Client(base_url=suite.base_url, trust_env=False, timeout=20) as client:
        people = {}
        for person, team in (("ada", "red"), ("bob", "red"), ("eve", "blue")):
            joined = client.post(
                f"/api/v1/collections/{realm}/auth/register",
                json={"email": f"{person}.{realm}@example.com", "password": "a long enough passphrase", "team": team},
            )
            assert joined.status_code == 201, joined.text
            people[person] = (joined.json()["user"]["id"], {"Authorization": f"Bearer {joined.json()['access_token']}"})
        at = f"/api/v1/collections/{notes}/records"
        ada, as_ada = people["ada"]
        note = client.post(at, json={"data": {"text": "n", "owner": ada}}, headers=as_ada)
        assert note.status_code == 201, note.text
        totals = {person: client.get(at, headers=headers).json()["total"] for person, (_, headers) in people.items()}
        assert totals == {"ada": 1, "bob": 1, "eve": 0}
        one = f"{at}/{note.json()['id']}"
        statuses = {person: client.get(one, headers=headers).status_code for person, (_, headers) in people.items()}
        assert statuses == {"ada": 200, "bob": 404, "eve": 404}
        assert client.patch(one, json={"data": {"text": "x"}}, headers=people["bob"][1]).status_code == 404
        assert client.post(at, json={"data": {"owner": ada}}, headers=people["bob"][1]).status_code == 403
        assert client.post(at, json={"data": {"owner": ada}}).status_code == 401
        # Her record is hers to see, and goes with her account's.
        profile = admin_client.get(f"/api/v1/collections/{realm}/records/{ada}").json()
        assert profile["data"]["email"] == f"ada.{realm}@example.com"
        explained = admin_client.get(
            f"/api/v1/collections/{notes}/explain",
            params={"rule": "view", "as_user": people["eve"][0], "record": note.json()["id"]},
        )
        assert explained.json()["verdict"]["allowed"] is False


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_data_or_a_refusal_everywhere(admin_client: httpx.Client, name: str, hostile: str) -> None:
    for parameter in ("filter", "sort", "expand", "fields", "cursor", "page", "per_page"):
        answer = admin_client.get(f"{name}/records", params={parameter: hostile})
        assert answer.status_code in (200, 400, 422), (parameter, answer.text)
    for parameter in ("rule", "expression", "filter", "as_user", "record"):
        answer = admin_client.get(f"{name}/explain", params={parameter: hostile})
        assert answer.status_code in (200, 400, 404, 422), (parameter, answer.text)
    made = admin_client.post(f"{name}/records", json={"data": {"title": hostile, "meta": {hostile: hostile}}})
    assert made.status_code == (422 if "\0" in hostile else 201), made.text
    if made.status_code == 201:
        read = admin_client.get(f"{name}/records/{made.json()['id']}").json()
        assert (read["data"]["title"], read["data"]["meta"]) == (hostile, {hostile: hostile})
        literal = json.dumps(hostile, ensure_ascii=False)
        if len(literal.encode()) < 4000:
            found = admin_client.get(f"{name}/records", params={"filter": f"title = {literal}"})
            assert found.json()["total"] == 1, found.text
    unknown = admin_client.post(f"{name}/records", json={"data": {"title": "t", hostile: 1}})
    assert unknown.status_code == 422
    changed = admin_client.patch(f"{name}/records/{uuid.uuid4()}", json={"data": {hostile: 1}})
    assert changed.status_code in (404, 422)
    schema = admin_client.post(
        "/api/v1/collections", json={"name": hostile, "schema": [{"name": hostile, "type": hostile}]}
    )
    assert schema.status_code == 422


def test_collections_are_listed_and_changed(admin_client: httpx.Client, name: str) -> None:
    short = name.rsplit("/", 1)[1]
    found = admin_client.get(f"/api/v1/collections/name/{short}").json()
    assert found["id"] in [item["id"] for item in admin_client.get("/api/v1/collections?per_page=500").json()["items"]]
    at = f"/api/v1/collections/{found['id']}"
    assert admin_client.patch(at, json={"list_rule": None}).json()["list_rule"] is None
    assert admin_client.patch(at, json={"list_rule": ""}).json()["list_rule"] == ""
    bad = admin_client.patch(at, json={"view_rule": "titel = 'x'"})
    assert (bad.status_code, bad.json()["code"], bad.json()["errors"][0]["field"]) == (422, "RULE_INVALID", "view_rule")
    assert bad.json()["errors"][0]["message"].endswith("titel = 'x'\n^")
    assert admin_client.patch(at, json={"nope": 1}).status_code == 422
    assert admin_client.get("/api/v1/collections/name/nothing").status_code == 404
