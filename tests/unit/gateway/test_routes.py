"""The route table as it is read from the protos."""

from __future__ import annotations

from typing import Any

import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from fastcms.common.v1 import options_pb2
from fastcms.common.v1.options_pb2 import Access
from gateway.routes import PACKAGES, Route, compile_routes, services_of
from tests import routes as expected
from tests.contract.gateway import made_up


def all_routes() -> list[Route]:
    return compile_routes(service for package in PACKAGES for service in services_of(package))


def test_every_annotated_rpc_is_routed():
    found = {(route.method, route.template, route.rpc.full_name) for route in all_routes()}
    assert found == {(one.verb, one.template, one.method.full_name) for one in expected.routes()}
    assert len(found) > 30


def test_rpcs_for_services_are_never_routed():
    assert all(route.access.caller != Access.CALLER_SERVICE for route in all_routes())
    assert {route.rpc.name for route in compile_routes([made_up.service()])}.isdisjoint({"Hidden"})


def test_additional_bindings_are_routes_of_their_own():
    ways = [
        (route.method, route.template, route.binding) for route in all_routes() if route.rpc.name == "EndImpersonation"
    ]
    assert ("DELETE", "/api/v1/admin/impersonate", 0) in ways
    assert ("DELETE", "/api/admin/impersonate", 1) in ways


_count = 0


def service(
    caller: int | None = Access.CALLER_PUBLIC, rest: options_pb2.Rest | None = None, **rule: Any
) -> ServiceDescriptor:
    """A service with one rpc `Do` under the HTTP rule, made without a proto file."""
    global _count
    _count += 1
    file = descriptor_pb2.FileDescriptorProto(
        name=f"odd{_count}.proto", package=f"odd{_count}", syntax="proto3", dependency=["google/api/httpbody.proto"]
    )
    message = file.message_type.add(name="Message")
    message.field.add(name="id", number=1, type=9, label=1)
    message.field.add(name="tags", number=2, type=9, label=3)
    message.field.add(name="body", number=3, type=11, type_name=".google.api.HttpBody", label=1)
    stream = rule.pop("stream", ())
    method = file.service.add(name="OddService").method.add(
        name="Do",
        input_type=f".odd{_count}.Message",
        output_type=f".odd{_count}.Message",
        client_streaming="client" in stream,
        server_streaming="server" in stream,
    )
    if caller is not None:
        method.options.Extensions[options_pb2.access].caller = caller
    if rest is not None:
        method.options.Extensions[options_pb2.rest].CopyFrom(rest)
    if rule:
        http = method.options.Extensions[annotations_pb2.http]
        for name, value in rule.items():
            setattr(http, name, value)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    found: ServiceDescriptor = pool.FindServiceByName(f"odd{_count}.OddService")
    return found


@pytest.mark.parametrize("rule", [{"get": "/odd"}, {}], ids=["routed", "unrouted"])
def test_an_rpc_that_does_not_say_who_may_call_it_stops_the_start(rule: dict[str, str]):
    with pytest.raises(ValueError, match="does not say who may call it"):
        compile_routes([service(None, **rule)])


@pytest.mark.parametrize(
    ("built", "why"),
    [
        ({"caller": Access.CALLER_SERVICE, "get": "/odd"}, "services only"),
        ({"get": "/odd/{nothing}"}, "not a single value"),
        ({"get": "/odd/{tags}"}, "not a single value"),
        ({"get": "/odd/{body}"}, "not a single value"),
        ({"get": "/odd/{id=**}"}, "whole segments"),
        ({"post": "/odd", "body": "nothing"}, "no field nothing"),
        ({"get": "/odd", "response_body": "nothing"}, "no field nothing"),
        ({"get": "/odd", "rest": options_pb2.Rest(query_map="id")}, "query_map"),
        ({"post": "/odd", "stream": ("client",)}, "a stream from the client"),
        ({"get": "/odd", "stream": ("server",)}, "a stream to the client"),
        ({"post": "/odd", "body": "body", "stream": ("client", "server")}, "a stream to the client"),
        ({"body": "*"}, "needs one of"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_route_that_cannot_be_served_stops_the_start(built: dict[str, Any], why: str):
    with pytest.raises(ValueError, match=why):
        compile_routes([service(**built)])
