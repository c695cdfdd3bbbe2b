"""What the running suite answers is what its own OpenAPI document says."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS31Validator

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.routes import Route, routes

READABLE = [route for route in routes() if route.verb == "GET" and not route.parameters and not route.streams]


@pytest.fixture(scope="module")
def document(admin_client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = admin_client.get("/openapi.json").json()
    return found


def faults(document: dict[str, Any], verb: str, template: str, answer: httpx.Response) -> list[str]:
    """How an answer differs from what the document says of it."""
    told = document["paths"][template][verb.lower()]["responses"][str(answer.status_code)]
    if "$ref" in told:
        told = document["components"]["responses"][told["$ref"].rpartition("/")[2]]
    kind = answer.headers["content-type"].partition(";")[0]
    schema = told["content"]["*/*" if "*/*" in told["content"] else kind]["schema"]
    whole = {"allOf": [schema], "components": document["components"]}
    return [error.message for error in OAS31Validator(whole).iter_errors(answer.json())]


@pytest.mark.parametrize("route", READABLE, ids=str)
def test_what_an_admin_reads_is_as_documented(admin_client: httpx.Client, document: dict[str, Any], route: Route):
    answer = admin_client.get(route.template)
    assert answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR, answer.text
    assert faults(document, "GET", route.template, answer) == []


@pytest.mark.parametrize("route", READABLE, ids=str)
def test_what_nobody_may_read_is_a_problem_as_documented(suite: Any, document: dict[str, Any], route: Route):
    answer = httpx.get(suite.base_url + route.template, trust_env=False)
    assert answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR, answer.text
    assert faults(document, "GET", route.template, answer) == []


def test_a_sign_in_a_collection_and_a_record_are_as_documented(admin_client: httpx.Client, document: dict[str, Any]):
    login = admin_client.post("/api/v1/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
    assert faults(document, "POST", "/api/v1/auth/login", login) == []
    name = "documented"
    schema = [{"name": "title", "type": "text", "required": True}, {"name": "size", "type": "number"}]
    made = admin_client.post("/api/v1/collections", json={"name": name, "schema": schema})
    assert made.status_code == httpx.codes.CREATED, made.text
    assert faults(document, "POST", "/api/v1/collections", made) == []
    path = "/api/v1/collections/{collection}/records"
    record = admin_client.post(
        f"/api/v1/collections/{name}/records", json={"data": {"title": "a", "size": 9007199254740993}}
    )
    assert record.status_code == httpx.codes.CREATED, record.text
    assert faults(document, "POST", path, record) == []
    page = admin_client.get(f"/api/v1/collections/{name}/records")
    assert faults(document, "GET", path, page) == []
    bad = admin_client.post("/api/v1/collections", json={"name": 5})
    assert bad.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert faults(document, "POST", "/api/v1/collections", bad) == []


def test_health_is_as_documented(admin_client: httpx.Client, document: dict[str, Any]):
    for path in ("/health", "/health/ready"):
        assert faults(document, "GET", path, admin_client.get(path)) == []
