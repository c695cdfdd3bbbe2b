"""The README's five minutes, pasted into a shell as a new user would, and what a restart leaves of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.mongo_server import MongoServer
from tests.suite import Suite

README = Path(__file__).parents[2] / "README.md"
TOUR_BEGINS, TOUR_ENDS = "## Five minutes", "## "


def tour() -> str:
    """The shell blocks of the tour, in order."""
    chapter = README.read_text().split(TOUR_BEGINS, 1)[1].split("\n" + TOUR_ENDS, 1)[0]
    return "\n".join(re.findall(r"```sh\n(.*?)```", chapter, re.DOTALL))


def documents(text: str) -> Iterator[Any]:
    """The JSON documents in what curl printed one after the other."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        document, at = decoder.raw_decode(text, at)
        yield document


def paste(base_url: str) -> list[Any]:
    if not shutil.which("curl"):
        pytest.fail("the tour is written for curl, which is not on the path")
    script = tour().replace("http://localhost:8000", base_url)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return list(documents(done.stdout))


def test_the_tour_works_when_pasted_and_its_data_survives_a_restart(new_suite: Callable[..., Suite], tmp_path: Path):
    data_dir = tmp_path / "tour"
    suite = new_suite(data_dir)
    answers = paste(suite.base_url)
    check_tour(answers)
    assert suite.stop() == 0
    check_after_restart(new_suite(data_dir).base_url)


def check_tour(answers: list[Any]) -> None:
    (registered, me, customers, products, chair, lamp, read, listed, *rest) = answers
    assert registered["user"]["role"] == "admin"
    assert registered["user"]["superadmin"] is True
    assert registered["token_type"] == "bearer"
    assert me["email"] == "admin@example.com"
    assert customers["type"] == "auth"
    assert [field["name"] for field in products["schema"]["fields"]] == ["title", "price", "tags"]
    assert chair["data"]["title"] == "Chair"
    assert lamp["data"] == {"title": "Lamp", "price": 45, "tags": ["new"]}
    assert read == lamp
    assert [item["data"]["title"] for item in listed["items"]] == ["Chair", "Lamp"]
    assert listed["total"] == 2

    wrong, (locked, status, unlocked, sara, ended, refused, tasks, triggered, emptied, audit) = rest[:5], rest[5:]
    assert [answer["status"] for answer in wrong] == [401] * 5
    assert locked["status"] == 403
    assert re.fullmatch(r"Account locked\. Try again in \d+ seconds\.", locked["detail"])
    assert status["is_locked"] is True
    assert status["failed_login_attempts"] == 5
    assert unlocked["failed_login_attempts"] == 0
    assert unlocked["locked_until"] is None
    assert sara["email"] == "sara@startup.io"
    assert ended == {"ended": True}
    assert refused["status"] == 401
    assert {"cleanup_expired_tokens", "cleanup_expired_ip_rules"} <= {task["name"] for task in tasks["tasks"]}
    assert triggered["message"] == "Task 'cleanup_expired_tokens' triggered successfully"
    assert emptied == {"deleted_count": 2, "collection": "products"}
    assert audit["limit"] == 20


def check_after_restart(base_url: str) -> None:
    with httpx.Client(base_url=base_url, trust_env=False, timeout=20) as client:
        credentials = {"email": "admin@example.com", "password": "your-password-here"}
        login = client.post("/api/v1/auth/login", json=credentials)
        assert login.status_code == 200
        client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        names = {item["name"] for item in client.get("/api/v1/collections").json()["items"]}
        assert {"customers", "products"} <= names
        actions = {item["event_action"] for item in client.get("/api/v1/audit?limit=1000").json()["items"]}
        assert {"account_locked", "login_failed"} <= actions, actions


def test_the_tour_runs_on_mongodb_too(new_suite: Callable[..., Suite], mongo_server: MongoServer):
    check_tour(paste(new_suite(STORAGE_URL=mongo_server.url).base_url))
