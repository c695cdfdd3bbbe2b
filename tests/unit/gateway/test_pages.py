"""Routes written by hand fail as rpcs do."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import HTTPException

from fastcms_common.errors import Conflict, Unauthenticated
from gateway.access_log import AccessLog
from gateway.addresses import ClientAddresses
from gateway.cors import Cors
from gateway.dispatcher import Dispatcher
from gateway.edge import Edge
from gateway.pages import build_pages
from gateway.problems import Refused


def client_of(declare: Callable[[Any], None]) -> httpx.AsyncClient:
    pages = build_pages({"openapi": "3.1.0"})
    declare(pages)
    edge = Edge(
        Dispatcher(),
        pages,
        addresses=ClientAddresses([]),
        cors=Cors([]),
        access_log=AccessLog(None),
        body_limit=1000,
        lifespan=contextlib.nullcontext,  # type: ignore[arg-type]
        admit=lambda request: None,
    )
    transport = httpx.ASGITransport(edge, raise_app_exceptions=False)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


def declare(pages: Any) -> None:
    @pages.post("/pages/{number}")
    async def show(number: int, body: dict[str, int], page: int = 1) -> dict[str, int]:
        return {"number": number, "page": page, **body}

    @pages.get("/fail/{how}")
    async def fail(how: str) -> None:
        raise {
            "conflict": Conflict("It is there already."),
            "nobody": Unauthenticated(),
            "refused": Refused(415, "UNSUPPORTED_MEDIA_TYPE", "No."),
            "http": HTTPException(403, "Not you."),
            "defect": RuntimeError("mongodb://secret-host"),
        }[how]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(declare) as open_client:
        yield open_client


async def test_a_page_gets_its_body(client: httpx.AsyncClient):
    answer = await client.post("/pages/1?page=2", json={"a": 3})
    assert answer.json() == {"number": 1, "page": 2, "a": 3}


async def test_bad_fields_are_named_wherever_they_stand(client: httpx.AsyncClient):
    answer = await client.post("/pages/x?page=y", json={"a": "z"})
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["code"] == "VALIDATION_FAILED"
    assert [error["field"] for error in told["errors"]] == ["number", "page", "a"]
    assert all(error["message"].endswith(".") for error in told["errors"])


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("conflict", 409, "CONFLICT"),
        ("nobody", 401, "UNAUTHENTICATED"),
        ("refused", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("http", 403, "FORBIDDEN"),
        ("defect", 500, "INTERNAL"),
    ],
)
async def test_a_failure_is_a_problem(client: httpx.AsyncClient, how: str, status: int, code: str):
    answer = await client.get(f"/fail/{how}", headers={"X-Request-Id": "r1"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert answer.json()["request_id"] == "r1"
    assert answer.json().keys() == {"type", "title", "status", "detail", "code", "request_id", "errors"}
    assert "secret-host" not in answer.text
    assert ("www-authenticate" in answer.headers) == (status == 401)


async def test_a_body_over_the_limit_is_refused(client: httpx.AsyncClient):
    answer = await client.post("/pages/1", content=b"x" * 2000, headers={"Content-Type": "application/json"})
    assert answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE
