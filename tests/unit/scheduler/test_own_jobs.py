"""What admins may ask of a job, and what they see of it."""

from __future__ import annotations

from typing import Any

import pytest

from fastcms_common.errors import Conflict, Invalid
from scheduler_service.own_jobs import Draft, OwnJobs
from scheduler_service.sealing import Seal

URL = "https://hooks.example/x"
HEADERS = {"Authorization": "Bearer s3cret", "Accept": "application/json", "X-Api-Key": "k3y"}


@pytest.fixture
def jobs() -> OwnJobs:
    return OwnJobs(Seal(b"k" * 32), frozenset({"10.0.0.7"}))


def bad_fields(jobs: OwnJobs, kind: str = "http", before: dict[str, Any] | None = None, **draft: Any) -> set[str]:
    with pytest.raises(Invalid) as caught:
        jobs.parameters("job", kind, Draft(**draft), before)
    return {problem.field for problem in caught.value.fields}


def test_secrets_are_neither_stored_nor_shown_and_yet_sent(jobs: OwnJobs):
    stored = jobs.parameters("job", "http", Draft(url=URL, headers=HEADERS))
    for secret in ("s3cret", "k3y"):
        assert secret not in str(stored)
    assert jobs.to_show("job", stored) == {"Authorization": "***", "Accept": "application/json", "X-Api-Key": "***"}
    assert jobs.to_run("job", "http", stored)["headers"] == HEADERS


def test_a_mask_that_is_sent_back_keeps_the_secret(jobs: OwnJobs):
    stored = jobs.parameters("job", "http", Draft(url=URL, headers=HEADERS))
    shown = jobs.to_show("job", stored) | {"Accept": "text/plain"}
    changed = jobs.parameters("job", "http", Draft(headers=shown), stored)
    assert jobs.to_run("job", "http", changed)["headers"] == HEADERS | {"Accept": "text/plain"}


def test_a_mask_that_stands_for_nothing_is_refused(jobs: OwnJobs):
    assert bad_fields(jobs, url=URL, headers={"X-Api-Key": "***"}) == {"headers.X-Api-Key"}


def test_secrets_do_not_go_along_to_another_host(jobs: OwnJobs):
    stored = jobs.parameters("job", "http", Draft(url=URL, headers=HEADERS))
    shown = jobs.to_show("job", stored)
    for elsewhere in ("https://evil.example/", URL.replace("https", "http"), URL.replace(".example", ".example:8443")):
        for headers in (None, shown):
            with pytest.raises(Invalid) as caught:
                jobs.parameters("job", "http", Draft(url=elsewhere, headers=headers), stored)
            assert [problem.field for problem in caught.value.fields] == ["headers"]
        moved = jobs.parameters("job", "http", Draft(url=elsewhere, headers=HEADERS), stored)
        assert jobs.to_run("job", "http", moved)["headers"] == HEADERS
        assert jobs.to_run("job", "http", jobs.parameters("job", "http", Draft(url=elsewhere, headers={}), stored))
    same_host = jobs.parameters("job", "http", Draft(url=f"{URL}/other", headers=shown), stored)
    assert jobs.to_run("job", "http", same_host)["headers"] == HEADERS
    plain = jobs.parameters("job", "http", Draft(url=URL, headers={"Accept": "a/b"}))
    assert jobs.parameters("job", "http", Draft(url="https://other.example/"), plain)["url"] == "https://other.example/"


def test_what_is_sealed_for_one_job_or_with_one_key_opens_for_no_other(jobs: OwnJobs):
    stored = jobs.parameters("job", "http", Draft(url=URL, headers=HEADERS))
    others = OwnJobs(Seal(b"x" * 32), frozenset())
    for call in (lambda: jobs.to_run("other", "http", stored), lambda: others.to_run("job", "http", stored)):
        with pytest.raises(Conflict) as caught:
            call()
        assert caught.value.reason == "SECRETS_UNREADABLE"
    assert others.to_show("job", stored) == {}


def test_what_is_not_said_has_a_default_or_stays(jobs: OwnJobs):
    stored = jobs.parameters("job", "http", Draft(url=URL))
    assert (stored["method"], stored["timeout"], stored["retries"], stored["body"]) == ("GET", 30, 3, None)
    changed = jobs.parameters("job", "http", Draft(method="POST", body="{}", retries=0), stored)
    assert (changed["url"], changed["method"], changed["retries"], changed["timeout"]) == (URL, "POST", 0, 30)
    assert jobs.parameters("job", "http", Draft(body=""), changed)["body"] is None


@pytest.mark.parametrize(
    "headers",
    [{"Host": "x"}, {"content-length": "1"}, {"X Y": "1"}, {"X": "a\r\nY: b"}, {"X": "ü"}, {"X": ""}, {"X": " a"},
     {"": "x"}, {"X": "a" * 5000}, {"X-A": "1", "x-a": "2"}, {"Transfer-Encoding": "chunked"},
     {"Idempotency-Key": "x"}, {"FastCMS-Fencing-Token": "9"}],
)  # fmt: skip
def test_headers_that_could_mean_something_else_are_refused(jobs: OwnJobs, headers: dict[str, str]):
    assert all(field.startswith("headers.") for field in bad_fields(jobs, url=URL, headers=headers))


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://localhost:8000/", "http://[::1]/", "http://metadata.internal/",
                                 "http://169.254.169.254/latest/meta-data", "http://printer.local/"])  # fmt: skip
def test_a_url_that_leads_inside_is_refused_at_once(jobs: OwnJobs, url: str):
    assert bad_fields(jobs, url=url) == {"url"}


def test_an_allowed_host_is_not(jobs: OwnJobs):
    assert jobs.parameters("job", "http", Draft(url="http://10.0.0.7:9000/x"))["url"] == "http://10.0.0.7:9000/x"


def test_each_bad_field_is_named(jobs: OwnJobs):
    assert bad_fields(jobs) == {"url"}
    assert bad_fields(jobs, url="ftp://x", headers={"Host": "x"}, body="x") == {"url", "headers.Host", "body"}
    assert bad_fields(jobs, url=URL, method="POST", body="a\0b") == {"body"}
    assert bad_fields(jobs, url=URL, collection="posts") == {"collection"}
    assert bad_fields(jobs, "truncate") == {"collection"}
    assert bad_fields(jobs, "truncate", collection="posts", url=URL, retries=1) == {"url", "retries"}
    assert bad_fields(jobs, "truncate", collection="../posts", keep=1) == {"collection", "keep"}
    assert bad_fields(jobs, "export", headers={}) == {"collection", "headers"}


def test_an_export_has_defaults(jobs: OwnJobs):
    stored = jobs.parameters("job", "export", Draft(collection="posts"))
    assert stored == {"collection": "posts", "format": "ndjson", "keep": 7}
    assert jobs.parameters("job", "export", Draft(keep=1, format="csv"), stored) == {
        "collection": "posts", "format": "csv", "keep": 1
    }  # fmt: skip
