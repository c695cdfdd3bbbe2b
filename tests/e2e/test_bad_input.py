"""Every field of every route, missing, null, of the wrong type, empty, huge: a 4xx that names it, never a 5xx.

The routes and their fields come from the protos, so a new endpoint is tried as soon as it is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from fastcms.common.v1 import options_pb2
from tests.routes import Route, routes

NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
    FieldDescriptor.CPPTYPE_DOUBLE,
}
HUGE = "x" * 200_000


@dataclass(frozen=True)
class Case:
    """One bad request: where it goes, what it says, and the field that the answer has to name."""

    route: Route
    what: str
    field: str
    body: str | None = None
    query: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.route.method.name}-{self.field}-{self.what}"


def wrong_types(field: FieldDescriptor) -> list[tuple[str, str]]:
    """JSON texts of the wrong type for `field`, with names."""
    options = field.GetOptions().Extensions[options_pb2.field]
    if options.json:
        return []
    if field.is_repeated:
        return [("a string for a list", '"x"'), ("a number for a list", "1"), ("a list of lists", "[[[1]]]")]
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return [("a number", "1"), ("a bool", "true"), ("a list", "[]"), ("an object", "{}")]
    if kind in NUMBERS:
        return [
            ("a string", '"x"'),
            ("an empty string", '""'),
            ("a bool", "true"),
            ("a list", "[1]"),
            ("beyond 64 bits", str(10**40)),
            ("an object", "{}"),
        ]
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return [("a string", '"true"'), ("a number", "1"), ("a list", "[]")]
    return [("a number", "1"), ("a bool", "false"), ("a string", '"x"')]


def body_fields(route: Route) -> Iterator[FieldDescriptor]:
    for field in route.method.input_type.fields:
        options = field.GetOptions().Extensions[options_pb2.field]
        if field.name not in route.parameters and not options.header and field.name != "update_mask":
            yield field


def body_cases(route: Route) -> Iterator[Case]:
    for field in body_fields(route):
        name = json.dumps(field.json_name if "json_name" in str(field) else field.name)
        required = field_behavior_pb2.REQUIRED in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        for what, text in wrong_types(field):
            yield Case(route, what, field.name, f"{{{name}: {text}}}")
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and field.type != FieldDescriptor.TYPE_BYTES:
            huge = json.dumps([HUGE] if field.is_repeated else HUGE)
            yield Case(route, "huge", field.name, f"{{{name}: {huge}}}")
        if required:
            yield Case(route, "missing", field.name, "{}")
            yield Case(route, "null", field.name, f"{{{name}: null}}")
            if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and not field.is_repeated:
                yield Case(route, "empty", field.name, f'{{{name}: ""}}')
    yield Case(route, "an unknown key", "no_such_key", '{"no_such_key": 1}')


def query_cases(route: Route) -> Iterator[Case]:
    for field in body_fields(route):
        if field.cpp_type in NUMBERS:
            for what, text in (("a word", "x"), ("a fraction", "1.5"), ("beyond 64 bits", str(10**30)), ("empty", "")):
                yield Case(route, f"query {what}", field.name, query=((field.name, text),))
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and not field.is_repeated:
            yield Case(route, "query huge", field.name, query=((field.name, "x" * 20_000),))
            yield Case(route, "query NUL", field.name, query=((field.name, "\0"),))
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE and not field.is_repeated:
            yield Case(route, "query not a time", field.name, query=((field.name, "yesterday"),))
    if not route.rest.query_map:
        yield Case(route, "an unknown parameter", "no_such_key", query=(("no_such_key", "1"),))


def all_cases() -> list[Case]:
    cases: list[Case] = []
    for route in routes():
        if route.body == "*":
            cases += body_cases(route)
        elif not route.body:
            cases += query_cases(route)
    return cases


@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_a_bad_field_is_named(admin_client: httpx.Client, case: Case):
    answer = admin_client.request(
        case.route.verb,
        case.route.filled(),
        content=case.body,
        params=case.query or None,
        headers={"Content-Type": "application/json"} if case.body is not None else None,
    )
    if case.what == "query huge" and answer.status_code == 414:
        return
    assert answer.status_code == 422, f"{case.route} answered {answer.status_code}: {answer.text}"
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    named = {re.sub(r"[.\[].*", "", error["field"]) for error in problem["errors"]}
    assert case.field in named, problem


UNREADABLE: dict[str, bytes] = {
    "not JSON": b"{",
    "nothing": b"",
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "not UTF-8": b'{"email": "\xff"}',
    "a lone surrogate": b'{"email": "\\ud800"}',
    "NaN": b'{"email": NaN}',
    "too deep": b'{"email":' * 100 + b"1" + b"}" * 100,
    "very deep": b"[" * 100_000,
    "10^400": b'{"email": 1' + b"0" * 400 + b"}",
    "NUL": b'{"\\u0000": 1}',
    "__proto__": b'{"__proto__": {"role": "admin"}}',
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_an_unreadable_body_is_a_4xx_on_every_route_that_takes_one(admin_client: httpx.Client, what: str):
    for route in routes():
        if not route.body:
            continue
        if what == "nothing" and route.method.name == "Logout":
            # An empty body is fine there, and would end the session that the other routes are tried with.
            continue
        answer = admin_client.request(
            route.verb, route.filled(), content=UNREADABLE[what], headers={"Content-Type": "application/json"}
        )
        optional = what == "nothing" and not any(is_required(route.method, field.name) for field in body_fields(route))
        if optional:
            assert answer.status_code < 500, f"{route}: {answer.text}"
            continue
        assert 400 <= answer.status_code < 500, f"{route} answered {answer.status_code}: {answer.text}"
        assert answer.json()["status"] == answer.status_code


def is_required(method: MethodDescriptor, name: str) -> bool:
    options = method.input_type.fields_by_name[name].GetOptions()
    return field_behavior_pb2.REQUIRED in options.Extensions[field_behavior_pb2.field_behavior]


ODD_IDS = [
    *("nobody", "0", "-1", "..", "%2e%2e", "%00", "a" * 5000, "%F0%9F%98%80", "%ff"),
    *("$ne", '{"$ne":1}', "' OR 1=1", "*"),
]


@pytest.mark.parametrize("odd", ODD_IDS, ids=lambda odd: odd[:20])
def test_an_odd_id_in_the_path_is_a_4xx(admin_client: httpx.Client, odd: str):
    for route in routes():
        if not route.parameters or route.method.name in ("Login", "Register"):
            continue
        answer = admin_client.request(route.verb, route.filled(odd), content=b"{}" if route.body else None)
        assert answer.status_code < 500, f"{route} answered {answer.status_code}: {answer.text}"


def test_every_route_is_known_to_the_api_docs(admin_client: httpx.Client):
    document: dict[str, Any] = admin_client.get("/openapi.json").json()
    for route in routes():
        assert route.verb.lower() in document["paths"][route.template], route


def test_routes_come_from_annotations():
    assert any(route.method.GetOptions().HasExtension(annotations_pb2.http) for route in routes())
