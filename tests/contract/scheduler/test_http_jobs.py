"""The requests of HTTP jobs, before a real HTTP server."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from scheduler_service.executions import JobFailed
from scheduler_service.http_jobs import MAX_ANSWER, HttpJob, HttpJobs, Marks, trusted
from tests.certificates import self_signed
from tests.contract.scheduler.hook import Hook

LOCAL = frozenset({"127.0.0.1"})
MARKS = Marks("ping", "run-1", 17)


def job(url: str, **changes: Any) -> HttpJob:
    given = {"method": "GET", "headers": {}, "body": None, "timeout": 5, "retries": 0}
    return HttpJob(url=url, **given | changes)


def sender(allowed: frozenset[str] = LOCAL, ca_file: Path | None = None) -> HttpJobs:
    return HttpJobs(allowed, trusted(ca_file), pause=0.01)


async def test_a_request_arrives_as_it_was_asked_for():
    async with Hook() as hook:
        request = job(
            f"{hook.url}/a?b=c", method="POST", body='{"ü": 1}', headers={"X-Api-Key": "k", "user-agent": "me"}
        )
        assert await sender().run(request, MARKS) == {"status": 200, "bytes": 2, "attempts": 1}
    (got,) = hook.requests
    assert (got.method, got.path, got.body) == ("POST", "/a?b=c", '{"ü": 1}')
    assert got.headers["x-api-key"] == "k"
    assert got.headers["user-agent"] == "me"
    assert got.headers["idempotency-key"] == "run-1"
    assert got.headers["host"] == f"127.0.0.1:{hook.port}"
    assert {name: value for name, value in got.headers.items() if name.startswith("fastcms-")} == {
        "fastcms-task": "ping",
        "fastcms-run-id": "run-1",
        "fastcms-fencing-token": "17",
        "fastcms-attempt": "1",
    }


async def test_what_may_pass_is_tried_again_under_the_same_key():
    async with Hook(answers=[503, 429, 200]) as hook:
        assert (await sender().run(job(hook.url, retries=3), MARKS))["attempts"] == 3
    assert {request.headers["idempotency-key"] for request in hook.requests} == {"run-1"}
    assert [request.headers["fastcms-attempt"] for request in hook.requests] == ["1", "2", "3"]


async def test_retries_come_to_an_end():
    async with Hook(answers=[500]) as hook:
        with pytest.raises(JobFailed, match=re.escape("answered 500 (attempt 3 of 3)")):
            await sender().run(job(hook.url, retries=2), MARKS)
    assert len(hook.requests) == 3


async def test_what_will_not_pass_is_not_tried_again():
    async with Hook(answers=[404]) as hook:
        with pytest.raises(JobFailed, match="answered 404"):
            await sender().run(job(hook.url, retries=5), MARKS)
    assert len(hook.requests) == 1


async def test_silence_ends_with_the_timeout():
    async with Hook(silent=True) as hook:
        with pytest.raises(JobFailed, match=re.escape("no answer within 0.2 s")):
            await sender().run(job(hook.url, timeout=0.2), MARKS)


async def test_an_answer_without_end_is_not_read_to_its_end():
    async with Hook(size=MAX_ANSWER + 1) as hook:
        with pytest.raises(JobFailed, match="larger than"):
            await sender().run(job(hook.url), MARKS)


async def test_nobody_there_is_said_so():
    async with Hook() as hook:
        url = hook.url
    with pytest.raises(JobFailed, match="ConnectError"):
        await sender().run(job(url), MARKS)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_a_private_address_gets_no_request(host: str):
    async with Hook() as hook:
        with pytest.raises(JobFailed, match="not a public address"):
            await sender(frozenset()).run(job(f"http://{host}:{hook.port}/", retries=3), MARKS)
    assert hook.requests == []


async def test_the_address_that_was_judged_is_the_one_that_is_connected_to(monkeypatch: pytest.MonkeyPatch):
    """A name that leads somewhere else each time it is asked for gains nothing."""
    questions: list[str] = []
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo

    async def rebinding(host: str, port: int, **options: Any) -> list[Any]:
        if host == "rebind.example":
            questions.append(host)
            host = "127.0.0.1" if len(questions) == 1 else "127.0.0.2"
        return list(await resolve(host, port, **options))

    monkeypatch.setattr(loop, "getaddrinfo", rebinding)
    async with Hook() as hook:
        url = f"http://rebind.example:{hook.port}/"
        assert (await sender(frozenset({"rebind.example"})).run(job(url), MARKS))["status"] == 200
        assert questions == ["rebind.example"]
        assert hook.requests[0].headers["host"] == f"rebind.example:{hook.port}"
        with pytest.raises(JobFailed, match="not a public address"):
            await sender(frozenset()).run(job(url, retries=3), MARKS)
    assert len(hook.requests) == 1


async def test_a_redirect_is_not_followed_to_a_host_that_is_not_allowed():
    async with Hook() as inner, Hook(answers=[302], location=f"http://localhost:{inner.port}/") as hook:
        with pytest.raises(JobFailed, match="redirected to localhost, which is not an allowed host"):
            await sender().run(job(hook.url), MARKS)
    assert inner.requests == []


async def test_a_redirect_between_allowed_hosts_is_followed_without_the_secrets():
    async with Hook() as inner, Hook(answers=[307], location=f"{inner.url}/there") as hook:
        request = job(hook.url, method="POST", body="x", headers={"Authorization": "s3cret"})
        assert (await sender().run(request, MARKS))["status"] == 200
    (got,) = inner.requests
    assert (got.method, got.path, got.body) == ("POST", "/there", "x")
    assert "authorization" not in got.headers
    assert (got.headers["idempotency-key"], got.headers["fastcms-fencing-token"]) == ("run-1", "17")


async def test_a_redirect_within_a_host_keeps_the_headers_and_may_change_the_method():
    async with Hook(answers=[303, 200], location="/done") as hook:
        await sender().run(job(hook.url, method="POST", body="x", headers={"Authorization": "s"}), MARKS)
    assert [(got.method, got.path, got.headers.get("authorization")) for got in hook.requests] == [
        ("POST", "/", "s"),
        ("GET", "/done", "s"),
    ]


async def test_redirects_in_a_circle_come_to_an_end():
    async with Hook(answers=[302], location="/") as hook:
        with pytest.raises(JobFailed, match="more than 5 times"):
            await sender().run(job(hook.url), MARKS)


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with Hook() as hook:
        assert (await sender().run(job(hook.url), MARKS))["status"] == 200


async def test_a_certificate_has_to_be_that_of_the_name_though_an_address_is_connected_to(tmp_path: Path):
    allowed = frozenset({"localhost"})
    ours, tls = self_signed(tmp_path, "localhost")
    async with Hook(tls=tls) as hook:
        request = job(f"https://localhost:{hook.port}/")
        assert (await sender(allowed, ours).run(request, MARKS))["status"] == 200
        with pytest.raises(JobFailed, match="ConnectError"):
            await sender(allowed).run(request, MARKS)
    theirs, tls = self_signed(tmp_path, "other.example")
    async with Hook(tls=tls) as hook:
        with pytest.raises(JobFailed, match="ConnectError"):
            await sender(allowed, theirs).run(job(f"https://localhost:{hook.port}/"), MARKS)
    assert hook.requests == []
