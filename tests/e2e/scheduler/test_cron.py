"""The cron tools as a client sees them: over HTTP, through the whole suite."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.suite import wait_until

TOKENS = "cleanup_expired_tokens"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def task(client: httpx.Client, name: str) -> dict[str, object]:
    tasks = client.get("/api/v1/admin/cron").json()["tasks"]
    return next(task for task in tasks if task["name"] == name)


def finished(client: httpx.Client, name: str, run_id: str) -> dict[str, object]:
    def ended() -> dict[str, object] | None:
        runs = client.get(f"/api/v1/admin/cron/{name}/runs").json()["items"]
        return next((run for run in runs if run["id"] == run_id and run["finished"]), None)

    return wait_until(ended, f"run {run_id} of {name} is over")


def triggered(client: httpx.Client, name: str) -> str:
    """The id of a run that is triggered as soon as the task is not running."""

    def accepted() -> str | None:
        answer = client.post(f"/api/v1/admin/cron/{name}/trigger")
        assert answer.status_code == 200 or answer.json()["code"] == "TASK_RUNNING"
        return answer.json().get("run_id")

    return wait_until(accepted, f"{name} can be triggered")


@pytest.fixture
def job(admin_client: httpx.Client) -> Iterator[str]:
    """An HTTP job that is never due by itself."""
    body = {
        "name": "ping",
        "interval": "0 0 29 2 *",
        "url": "https://hooks.example/x",
        "headers": {"Authorization": "Bearer s3cret", "Accept": "text/plain"},
        "retries": 0,
    }
    answer = admin_client.post("/api/v1/admin/cron", json=body)
    assert answer.status_code == 201, answer.text
    yield "ping"
    admin_client.delete("/api/v1/admin/cron/ping")


def test_the_list_is_the_seeds_with_more(admin_client: httpx.Client):
    answer = admin_client.get("/api/v1/admin/cron")
    assert answer.status_code == 200
    body = answer.json()
    assert body["total"] == len(body["tasks"])
    listed = task(admin_client, TOKENS)
    assert (listed["interval"], listed["status"], listed["enabled"]) == ("1h", "idle", True)
    assert listed["description"]
    assert MOMENT.fullmatch(str(listed["next_run"]))
    assert {"last_run", "last_status", "last_duration_ms"} <= listed.keys()
    assert task(admin_client, "cleanup_expired_ip_rules")["interval"] == "24h"


def test_a_trigger_answers_as_the_seed_says_and_the_run_can_be_looked_up(admin_client: httpx.Client):
    next_run = task(admin_client, TOKENS)["next_run"]
    answer = admin_client.post(f"/api/v1/admin/cron/{TOKENS}/trigger")
    assert answer.status_code == 200
    assert answer.json()["message"] == f"Task '{TOKENS}' triggered successfully"
    run = finished(admin_client, TOKENS, answer.json()["run_id"])
    assert (run["status"], run["trigger"], run["error"]) == ("succeeded", "manual", None)
    assert run["result"] == {"deleted": 0}
    assert run["triggered_by"] == admin_client.get("/api/v1/auth/me").json()["id"]
    assert isinstance(run["duration_ms"], int)
    after = task(admin_client, TOKENS)
    assert (after["next_run"], after["last_run"], after["last_status"]) == (next_run, run["started"], "succeeded")


def test_every_task_of_the_suite_does_its_work(admin_client: httpx.Client):
    for listed in admin_client.get("/api/v1/admin/cron").json()["tasks"]:
        if listed["type"] == "system":
            name = listed["name"]
            run = finished(admin_client, name, triggered(admin_client, name))
            assert (name, run["status"], run["error"]) == (name, "succeeded", None)


def test_a_trigger_is_in_the_audit_log_with_who(admin_client: httpx.Client):
    run_id = admin_client.post("/api/v1/admin/cron/cleanup_expired_ip_rules/trigger").json()["run_id"]

    def audited() -> dict[str, object] | None:
        items = admin_client.get("/api/v1/audit", params={"event_action": "cron_triggered"}).json()["items"]
        return next((item for item in items if item["details"].get("run_id") == run_id), None)

    event = wait_until(audited, "the trigger is in the audit log")
    assert event["user_id"] == admin_client.get("/api/v1/auth/me").json()["id"]
    assert event["resource_id"] == "cleanup_expired_ip_rules"


def test_the_schedule_changes_and_changes_back(admin_client: httpx.Client):
    path = f"/api/v1/admin/cron/{TOKENS}"
    changed = admin_client.patch(path, json={"interval": "*/5 * * * *", "enabled": False}).json()
    assert (changed["interval"], changed["status"], changed["next_run"]) == ("*/5 * * * *", "disabled", None)
    restored = admin_client.patch(path, json={"interval": None, "enabled": True}).json()
    assert (restored["interval"], restored["status"]) == ("1h", "idle")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"interval": "soon"}, "interval"),
        ({"interval": 5}, "interval"),
        ({"interval": "1s"}, "interval"),
        ({"interval": ""}, "interval"),
        ({"interval": "99999999d"}, "interval"),
        ({"interval": "1" * 300 + "d"}, "interval"),
        ({"interval": "61 * * * *"}, "interval"),
        ({"interval": "* * * *"}, "interval"),
        ({"interval": "0 0 30 2 *"}, "interval"),
        ({"interval": "0 0 * * * Europe/Berlin"}, "interval"),
        ({"enabled": "yes"}, "enabled"),
        ({"enabled": None}, "enabled"),
        ({"url": "https://x.example"}, "url"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_a_bad_change_names_its_field(admin_client: httpx.Client, body: dict[str, object], field: str):
    answer = admin_client.patch(f"/api/v1/admin/cron/{TOKENS}", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_job_shows_no_secret(admin_client: httpx.Client, job: str):
    shown = task(admin_client, job)
    assert shown["headers"] == {"Authorization": "***", "Accept": "text/plain"}
    assert (shown["type"], shown["method"], shown["timeout"], shown["retries"]) == ("http", "GET", 30, 0)
    changed = admin_client.patch(f"/api/v1/admin/cron/{job}", json={"headers": shown["headers"], "timeout": 5})
    assert changed.status_code == 200
    assert changed.json()["headers"]["Authorization"] == "***"
    again = admin_client.post("/api/v1/admin/cron", json={"name": job, "interval": "1h", "url": "https://x.example"})
    assert (again.status_code, again.json()["code"]) == (409, "TASK_EXISTS")


def test_a_job_that_leads_inside_is_refused(admin_client: httpx.Client):
    body = {"name": "inside", "interval": "1h", "url": "http://169.254.169.254/latest/meta-data"}
    answer = admin_client.post("/api/v1/admin/cron", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "url", "message": "It must lead to a public address."}]


def test_a_job_is_removed_and_the_suites_own_tasks_are_not(admin_client: httpx.Client, job: str):
    assert admin_client.delete(f"/api/v1/admin/cron/{job}").status_code == 204
    assert admin_client.get(f"/api/v1/admin/cron/{job}/runs").status_code == 404
    answer = admin_client.delete(f"/api/v1/admin/cron/{TOKENS}")
    assert (answer.status_code, answer.json()["code"]) == (409, "SYSTEM_TASK")


def test_an_export_is_made_downloaded_and_removed(admin_client: httpx.Client):
    fields = [{"name": "title", "type": "text"}]
    assert admin_client.post("/api/v1/collections", json={"name": "exported", "schema": fields}).status_code == 201
    admin_client.post("/api/v1/collections/exported/records", json={"data": {"title": "Ünïcode"}})
    job = {"name": "nightly", "type": "export", "interval": "0 0 29 2 *", "collection": "exported"}
    assert admin_client.post("/api/v1/admin/cron", json=job).status_code == 201
    run = finished(admin_client, "nightly", triggered(admin_client, "nightly"))
    name = run["result"]["file"]  # type: ignore[index]
    # What a job has written outlives it.
    assert admin_client.delete("/api/v1/admin/cron/nightly").status_code == 204
    (file,) = admin_client.get("/api/v1/admin/exports", params={"task": "nightly"}).json()["items"]
    assert (file["name"], file["format"], file["size"]) == (name, "ndjson", run["result"]["bytes"])  # type: ignore[index]
    path = f"/api/v1/admin/exports/{name}"
    download = admin_client.get(path)
    assert (download.status_code, download.headers["content-type"]) == (200, "application/x-ndjson")
    assert [json.loads(line)["data"]["title"] for line in download.text.splitlines()] == ["Ünïcode"]
    assert admin_client.delete(path).status_code == 204
    for gone in (
        path,
        "/api/v1/admin/exports/..%2fservice.key",
        "/api/v1/admin/exports/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    ):
        answer = admin_client.get(gone)
        assert (answer.status_code, answer.json()["code"]) == (404, "EXPORT_NOT_FOUND")
    assert httpx.get(f"{admin_client.base_url}{path}", trust_env=False).status_code == 401
    admin_client.delete("/api/v1/collections/name/exported")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/admin/cron/nonesuch/trigger"),
        ("GET", "/api/v1/admin/cron/nonesuch/runs"),
        ("DELETE", "/api/v1/admin/cron/nonesuch"),
    ],
)
def test_unknown_tasks_are_404(admin_client: httpx.Client, method: str, path: str):
    answer = admin_client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (404, "TASK_NOT_FOUND")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "offset=-1"])
def test_a_bad_page_is_422(admin_client: httpx.Client, query: str):
    answer = admin_client.get(f"/api/v1/admin/cron/{TOKENS}/runs?{query}")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [query.partition("=")[0]]


def test_only_admins_get_in(admin_client: httpx.Client):
    assert httpx.get(f"{admin_client.base_url}/api/v1/admin/cron", trust_env=False).status_code == 401


def test_collected_metrics_make_points_for_charts(admin_client: httpx.Client):
    def collected() -> list[dict[str, object]]:
        trigger = admin_client.post("/api/v1/admin/cron/collect_metrics/trigger")
        if trigger.status_code == 200:
            run = finished(admin_client, "collect_metrics", trigger.json()["run_id"])
            assert run["result"] == {"up": 6, "down": 0}
        return list(admin_client.get("/api/v1/admin/metrics", params={"step": 1}).json()["items"])

    point = wait_until(collected, "there is a point")[-1]
    assert {process["name"] for process in point["processes"]} == {  # type: ignore[attr-defined]
        "gateway", "auth-service", "collections-service", "admin-service", "scheduler-service", "scheduler-worker"
    }  # fmt: skip
    assert all(process["up"] == 1 and process["memory_bytes"] > 0 for process in point["processes"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("query", ["step=0", "step=1441", "from_date=yesterday"])
def test_a_bad_span_of_metrics_is_422(admin_client: httpx.Client, query: str):
    answer = admin_client.get(f"/api/v1/admin/metrics?{query}")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [query.partition("=")[0]]
