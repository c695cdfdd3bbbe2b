"""The OpenAPI document."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from fastcms_common.errors import FieldError, Invalid
from gateway.encoding import compile_encoder
from gateway.openapi import build_openapi
from gateway.problems import problem_of
from gateway.routes import PACKAGES, compile_routes, services_of
from tests import routes as expected
from tests.contract.gateway import made_up

ROUTES = compile_routes(service for package in PACKAGES for service in services_of(package))
DOCUMENT = build_openapi(ROUTES)


def operation(route: expected.Route) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][route.template][route.verb.lower()]
    return found


def validator(document: dict[str, Any], name: str) -> OAS31Validator:
    return OAS31Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


def test_the_document_is_valid():
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_a_document_of_everything_is_valid():
    OpenAPIV31SpecValidator(build_openapi(compile_routes([made_up.service()]))).validate()


@pytest.mark.parametrize("route", expected.routes(), ids=str)
def test_every_route_is_told_in_full(route: expected.Route):
    told = operation(route)
    assert told["summary"]
    assert told["summary"] != route.method.name, "the rpc has no comment"
    assert str(route.rest.success_status or 200) in told["responses"]
    assert {"400", "422", "503", "504"} <= told["responses"].keys()
    in_path = [one["name"] for one in told.get("parameters", ()) if one["in"] == "path"]
    assert tuple(in_path) == route.parameters
    assert ("requestBody" in told) == bool(route.body)
    public = route.access.caller == route.access.CALLER_PUBLIC
    assert (told["security"] == []) == public


def test_operations_have_names_of_their_own():
    names = [one["operationId"] for path in DOCUMENT["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))


def test_comments_come_from_the_protos():
    login = DOCUMENT["paths"]["/api/v1/auth/login"]["post"]
    assert login["summary"] == "Signs in with e-mail and password"
    assert "`ACCOUNT_LOCKED`" in login["description"]
    mfa_code = DOCUMENT["components"]["schemas"]["auth.LoginRequest"]["properties"]["mfa_code"]
    assert mfa_code["description"].startswith("Six digits")


def test_what_the_codec_writes_fits_what_the_document_says():
    everything = made_up.modules()[0].Everything
    document = build_openapi(compile_routes([made_up.service()]))
    message = everything(colour=1, children=[everything()], labels={"a": "b"}, time={"seconds": 1}, json=b"[1]")
    written = orjson.loads(compile_encoder(everything.DESCRIPTOR)(message))
    assert list(validator(document, "made_up.Everything").iter_errors(written)) == []
    written["flag"] = 1
    assert list(validator(document, "made_up.Everything").iter_errors(written))


def test_a_problem_fits_what_the_document_says():
    for error in (
        Invalid.field("a", "Is bad."),
        Invalid([FieldError("password", "Too short")], reason="PASSWORD_POLICY"),
    ):
        told = orjson.loads(problem_of(error, "r").body)
        assert list(validator(DOCUMENT, "common.Problem").iter_errors(told)) == []


def test_a_body_may_leave_out_what_is_not_required():
    check = validator(DOCUMENT, "collections.CreateCollectionRequest")
    assert check.is_valid({"name": "a", "schema": {"fields": [{"name": "a", "type": "text"}]}, "list_rule": None})
    assert check.is_valid({"name": "a", "schema": [{"name": "a", "type": "text"}]})
    assert not check.is_valid({"schema": []})
    assert not check.is_valid({"name": "a", "nothing": 1})
    assert not check.is_valid({"name": "a", "schema": [{"name": "a", "type": "rocket"}]})
