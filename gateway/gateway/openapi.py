"""The OpenAPI 3.1 document: every route with its parameters, body, answers, errors and who may call it.

Written from the descriptors that the dispatcher is compiled from, and the comments in the protos: it cannot drift.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, Final

from fastcms.common.v1.options_pb2 import Access, Rest
from fastcms.common.v1.problem_pb2 import Problem
from gateway import fields
from gateway.binding import body_excludes, query_fields
from gateway.routes import Route
from gateway.schemas import Schema, Schemas, comment_of

Operation = dict[str, Any]

_ERRORS: Final = {
    400: "The request cannot be read.",
    401: "There is no token, or not a good one.",
    403: "The caller is known, and may not do this.",
    404: "There is no such thing, or none that the caller may see.",
    409: "The state of things does not allow it.",
    412: "The record has changed since it was read.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "One or more fields are invalid; each is named.",
    429: "Too many requests. Retry-After says when the next one is welcome.",
    503: "Something that this needs is not available. Retry-After says when to try again.",
    504: "There was no answer in time.",
}
_CALLERS: Final = {
    Access.CALLER_ADMIN: "Admins only.",
    Access.CALLER_SUPERADMIN: "Superadmins only.",
}
_HEALTH: Final[Schema] = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["ok", "unavailable"]},
        "dependencies": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "status": {"type": "string", "enum": ["ok", "down"]},
                    "error": {"type": ["string", "null"], "description": "The kind of failure."},
                },
                "required": ["name", "status", "error"],
            },
        },
    },
    "required": ["status"],
}


def build_openapi(routes: Iterable[Route]) -> dict[str, Any]:
    """The document for `routes` and the gateway's own health."""
    routes = list(routes)
    schemas = Schemas()
    problem = _describe_problem(schemas)
    schemas.components["Health"] = _HEALTH
    answers = [_answer(route, schemas) for route in routes]
    paths: dict[str, dict[str, Operation]] = {}
    tags: dict[str, str] = {}
    for route, answer in zip(routes, answers, strict=True):
        service = route.rpc.containing_service
        tags.setdefault(_tag(route), comment_of(service))
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route, answer, schemas)
    paths |= _health_paths()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FastCMS",
            "version": version("fastcms-gateway"),
            "description": "Errors are problem documents (RFC 9457). Unknown keys and parameters are errors, too.",
        },
        "servers": [{"url": "/"}],
        "tags": [*({"name": name, "description": text} for name, text in tags.items()), {"name": "Health"}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {f"Problem{status}": _problem_response(text, problem) for status, text in _ERRORS.items()},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _describe_problem(schemas: Schemas) -> Schema:
    reference = schemas.answer(Problem.DESCRIPTOR)
    detail = schemas.components["common.Problem"]["properties"]["detail"]
    detail["type"] = ["string", "array"]
    detail["items"] = {"type": "string"}
    return reference


def _problem_response(text: str, problem: Schema) -> Schema:
    return {"description": text, "content": {"application/problem+json": {"schema": problem}}}


def _tag(route: Route) -> str:
    return str(route.rpc.containing_service.name).removesuffix("Service")


def _operation(route: Route, answer: Schema, schemas: Schemas) -> Operation:
    summary, description = _texts(route)
    name = f"{route.rpc.containing_service.name}_{route.rpc.name}"
    operation: Operation = {
        "operationId": name if route.binding == 0 else f"{name}_{route.binding + 1}",
        "tags": [_tag(route)],
        "summary": summary,
        "security": _security(route.access),
        "responses": {str(route.status): answer, **_error_responses(route)},
    }
    if description:
        operation["description"] = description
    parameters = _parameters(route, schemas)
    if parameters:
        operation["parameters"] = parameters
    if route.body:
        operation["requestBody"] = _request_body(route, schemas)
    return operation


def _texts(route: Route) -> tuple[str, str]:
    """The first sentence of an rpc's comment, and the whole of what is to be said."""
    comment = comment_of(route.rpc)
    first = " ".join(comment.split())
    end = first.find(". ")
    summary = (first if end < 0 else first[:end]).removesuffix(".")
    parts = [comment] if end >= 0 else []
    if route.access.caller in _CALLERS:
        parts.append(_CALLERS[route.access.caller])
    if route.access.deny_impersonation:
        parts.append("Not while impersonating.")
    if route.rest.errors:
        parts.append("Error codes: " + ", ".join(f"`{code}`" for code in route.rest.errors) + ".")
    return summary or route.rpc.name, "\n\n".join(parts)


def _security(access: Access) -> list[dict[str, list[str]]]:
    if access.caller == Access.CALLER_PUBLIC:
        return []
    if access.caller == Access.CALLER_OPTIONAL:
        return [{}, {"bearer": []}]
    return [{"bearer": []}]


def _error_responses(route: Route) -> dict[str, Schema]:
    statuses = {400, 422, 503, 504}
    if route.access.caller != Access.CALLER_PUBLIC or route.rest.rate_limit == Rest.RATE_LIMIT_CREDENTIALS:
        statuses |= {401, 403}
    if route.parameters:
        statuses.add(404)
    if route.method != "GET":
        statuses.add(409)
    if any(fields.option(field).header == "If-Match" for field in route.rpc.input_type.fields):
        statuses.add(412)
    if route.body:
        statuses |= {413, 415}
    if route.rest.rate_limit != Rest.RATE_LIMIT_NONE:
        statuses.add(429)
    return {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in sorted(statuses)}


def _parameters(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    request = route.rpc.input_type
    found = []
    for name in route.parameters:
        schema = _single(schemas.field(request.fields_by_name[name], of_answer=False))
        found.append(_parameter(name, "path", schema, required=True))
    for key, field in query_fields(route).items():
        found.append(_parameter(key, "query", _single(schemas.field(field, of_answer=False))))
    for field in request.fields:
        header = fields.option(field).header
        if header:
            found.append(_parameter(header, "header", _single(schemas.field(field, of_answer=False))))
    if route.rest.query_map:
        schema = {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Further parameters, which rules see as @request.query.",
        }
        found.append({**_parameter(route.rest.query_map, "query", schema), "style": "form", "explode": True})
    return found


def _parameter(name: str, place: str, schema: Schema, *, required: bool = False) -> dict[str, Any]:
    parameter: dict[str, Any] = {"name": name, "in": place, "schema": schema}
    description = schema.pop("description", None)
    if description:
        parameter["description"] = description
    if required:
        parameter["required"] = True
    return parameter


def _single(schema: Schema) -> Schema:
    """A parameter that is not given is absent; null cannot be written."""
    if isinstance(schema.get("type"), list):
        schema["type"] = schema["type"][0]
        if "enum" in schema:
            schema["enum"] = [value for value in schema["enum"] if value is not None]
    return schema


def _request_body(route: Route, schemas: Schemas) -> dict[str, Any]:
    request = route.rpc.input_type
    if route.body == "*":
        schema = schemas.body(request, body_excludes(route))
        name = schema["$ref"].rpartition("/")[2]
        required = bool(schemas.components[name].get("required"))
        return {"required": required, "content": {"application/json": {"schema": schema}}}
    message = fields.message_of(request.fields_by_name[route.body])
    if message.full_name != fields.HTTP_BODY:
        return {"required": True, "content": {"application/json": {"schema": schemas.body(message)}}}
    if route.rest.body_schema:
        schema = schemas.named(route.rest.body_schema, of_answer=False)
        return {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"required": True, "content": {"*/*": {"schema": {}}}}


def _answer(route: Route, schemas: Schemas) -> dict[str, Any]:
    answer = route.rpc.output_type
    if route.status == 204:
        return {"description": "Done."}
    media_type = "application/json"
    if answer.full_name != fields.HTTP_BODY:
        if route.response_body:
            schema = schemas.field(answer.fields_by_name[route.response_body], of_answer=True)
        else:
            schema = schemas.answer(answer)
    elif route.rest.answer_schema:
        schema = schemas.named(route.rest.answer_schema, of_answer=True)
        # A stream of messages is one to a line.
        media_type = "application/x-ndjson" if route.rpc.server_streaming else media_type
        media_type = route.rest.answer_type or media_type
    else:
        # What it is, the service says with each answer.
        schema, media_type = {}, "*/*"
    return {"description": "Success.", "content": {media_type: {"schema": schema}}}


def _health_paths() -> dict[str, dict[str, Operation]]:
    health = {"application/json": {"schema": {"$ref": "#/components/schemas/Health"}}}
    alive: Operation = {
        "operationId": "Health_Alive",
        "tags": ["Health"],
        "summary": "Whether the gateway lives",
        "security": [],
        "responses": {"200": {"description": "It does.", "content": health}},
    }
    ready: Operation = {
        "operationId": "Health_Ready",
        "tags": ["Health"],
        "summary": "Whether everything that the gateway needs answers",
        "security": [],
        "responses": {
            "200": {"description": "It does.", "content": health},
            "503": {"description": "At least one dependency is down.", "content": health},
        },
    }
    return {"/health": {"get": alive}, "/health/ready": {"get": ready}}
