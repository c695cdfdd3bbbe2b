"""The real suite: started, started again, and two of them at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.suite import Suite

LATER_START_WITHIN = 10.0
LOGIN = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}

NewSuite = Callable[..., Suite]


def login(suite: Suite) -> httpx.Response:
    return httpx.post(f"{suite.base_url}/api/v1/auth/login", json=LOGIN, timeout=20, trust_env=False)


def test_a_later_start_takes_ten_seconds_at_most_and_finds_what_was_stored(new_suite: NewSuite, tmp_path: Path) -> None:
    first = new_suite(tmp_path / "data", ADMIN_EMAIL=ADMIN_EMAIL, ADMIN_PASSWORD=ADMIN_PASSWORD)
    assert login(first).status_code == httpx.codes.OK
    family = first.family()
    assert first.stop() == 0
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)
    begun = time.monotonic()
    second = new_suite(tmp_path / "data")
    assert time.monotonic() - begun < LATER_START_WITHIN
    assert login(second).status_code == httpx.codes.OK


def test_the_banner_says_what_is_there(suite: Suite) -> None:
    suite.wait_log("FastCMS is up")
    assert f"{suite.base_url}/docs" in suite.log
    for path in ("/docs", "/openapi.json", "/health", "/health/ready"):
        assert httpx.get(suite.base_url + path, trust_env=False).status_code == httpx.codes.OK


def test_every_process_serves_its_metrics(suite: Suite) -> None:
    suite.wait_ready()
    for name, process in suite.run_info()["processes"].items():
        if name != "redis":
            answer = httpx.get(f"http://{process['metrics']}/metrics", trust_env=False)
            assert answer.status_code == httpx.codes.OK, name
            assert "# TYPE" in answer.text


def test_two_suites_side_by_side_know_nothing_of_each_other(suite: Suite, new_suite: NewSuite) -> None:
    other = new_suite()
    assert login(suite).status_code == httpx.codes.OK
    assert login(other).status_code == httpx.codes.UNAUTHORIZED
    other.stop()
    suite.wait_ready()


def test_no_process_inherits_a_secret_that_it_does_not_need(suite: Suite) -> None:
    for name, process in suite.run_info()["processes"].items():
        environment = psutil.Process(process["pid"]).environ()
        assert ("ADMIN_PASSWORD" in environment) == (name == "auth-service"), name
