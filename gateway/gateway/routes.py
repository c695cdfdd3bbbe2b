"""The one route table, read from the protos: `google.api.http` says where, `access` who, `rest` how it answers."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor

from fastcms.common.v1 import options_pb2
from fastcms.common.v1.options_pb2 import Access, Rest
from fastcms_common.access import access_of
from gateway import fields
from gateway.trie import parameters_of, split_template

PACKAGES: Final = {
    "fastcms.auth.v1": "auth_service",
    "fastcms.collections.v1": "collections_service",
    "fastcms.admin.v1": "admin_service",
    "fastcms.scheduler.v1": "scheduler_service",
}
"""Where each proto package is served: the name of the setting that holds the address."""


@dataclass(frozen=True, slots=True)
class Route:
    """One way to reach an rpc.

    `body` names the request field that the body fills, "*" for the whole message, "" where there is none;
    `response_body` the answer's field that is sent, "" for the whole answer. `binding` counts an rpc's ways from 0.
    """

    method: str
    template: str
    rpc: MethodDescriptor
    access: Access
    rest: Rest
    body: str
    response_body: str
    binding: int

    @property
    def parameters(self) -> list[str]:
        """The request fields that the path fills, in order."""
        return parameters_of(self.template)

    @property
    def full_method(self) -> str:
        """What gRPC calls the rpc: `/fastcms.auth.v1.AuthService/Login`."""
        return f"/{self.rpc.containing_service.full_name}/{self.rpc.name}"

    @property
    def status(self) -> int:
        """The status of a success."""
        return self.rest.success_status or 200


def services_of(package: str) -> list[ServiceDescriptor]:
    """All services of a proto package, found in its generated modules."""
    home = import_module(package)
    found: list[ServiceDescriptor] = []
    for module in sorted(pkgutil.iter_modules(home.__path__), key=lambda info: info.name):
        if module.name.endswith("_pb2"):
            descriptor = import_module(f"{package}.{module.name}").DESCRIPTOR
            found.extend(descriptor.services_by_name.values())
    return found


def compile_routes(services: Iterable[ServiceDescriptor]) -> list[Route]:
    """The routes of all rpcs that have one.

    Raises ValueError for an rpc, routed or not, that does not say who may call it, and for a route that cannot be
    served.
    """
    return [route for service in services for rpc in service.methods for route in _routes(rpc)]


def _routes(rpc: MethodDescriptor) -> Iterator[Route]:
    access = access_of(rpc)
    options = rpc.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return
    if access.caller == Access.CALLER_SERVICE:
        raise ValueError(f"{rpc.full_name} is for services only and must not have a route")
    rule = options.Extensions[annotations_pb2.http]
    for number, binding in enumerate([rule, *rule.additional_bindings]):
        route = Route(
            *_method_and_template(binding, rpc),
            rpc=rpc,
            access=access,
            rest=options.Extensions[options_pb2.rest],
            body=binding.body,
            response_body=binding.response_body,
            binding=number,
        )
        _check(route)
        yield route


def _method_and_template(rule: http_pb2.HttpRule, rpc: MethodDescriptor) -> tuple[str, str]:
    kind = rule.WhichOneof("pattern")
    if kind is None or kind == "custom":
        raise ValueError(f"{rpc.full_name}: the route needs one of get, put, post, delete, patch")
    return kind.upper(), getattr(rule, kind)


def _check(route: Route) -> None:
    name, request, answer = route.rpc.full_name, route.rpc.input_type, route.rpc.output_type
    split_template(route.template)
    for parameter in route.parameters:
        field = request.fields_by_name.get(parameter)
        if field is None or field.is_repeated or (field.message_type and field.message_type.full_name not in _AS_TEXT):
            raise ValueError(f"{name}: {{{parameter}}} is not a single value of the request")
    if route.body not in ("", "*") and route.body not in request.fields_by_name:
        raise ValueError(f"{name}: the request has no field {route.body} for the body")
    if route.response_body and route.response_body not in answer.fields_by_name:
        raise ValueError(f"{name}: the answer has no field {route.response_body}")
    query = request.fields_by_name.get(route.rest.query_map) if route.rest.query_map else None
    if route.rest.query_map and (query is None or not fields.is_map(query)):
        raise ValueError(f"{name}: query_map does not name a map field of the request")
    if route.rpc.client_streaming and not _is_body(request, route.body):
        raise ValueError(f"{name}: a stream from the client needs a body field of type google.api.HttpBody")
    if route.rpc.server_streaming and answer.full_name != fields.HTTP_BODY:
        raise ValueError(f"{name}: a stream to the client has to be of google.api.HttpBody")


def _is_body(request: Descriptor, name: str) -> bool:
    field = request.fields_by_name.get(name)
    return field is not None and field.message_type is not None and field.message_type.full_name == fields.HTTP_BODY


_AS_TEXT: Final = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})
