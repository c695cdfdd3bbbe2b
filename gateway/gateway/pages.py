"""The FastAPI application: the API docs, and whatever else is written by hand. It answers where no rpc does."""

from __future__ import annotations

from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from fastcms_common.errors import DomainError, FieldError, Invalid
from gateway import docs
from gateway.answers import Answer
from gateway.problems import Refused, document, internal, not_allowed, not_found, problem_of

_CODES: Final = {400: "MALFORMED_REQUEST", 401: "UNAUTHENTICATED", 403: "FORBIDDEN", 409: "CONFLICT"}


def build_pages(openapi: dict[str, Any]) -> FastAPI:
    """The application, with `openapi` as its document. Errors look as they do everywhere else."""
    app = FastAPI(title="FastCMS", docs_url=None, redoc_url=None, openapi_url=None)
    app.openapi = lambda: openapi  # type: ignore[method-assign]
    app.include_router(docs.build_router(orjson.dumps(openapi)))
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_bad_request)
    app.add_exception_handler(DomainError, _on_domain_error)
    app.add_exception_handler(Refused, _on_domain_error)
    # The error is raised again after the answer, so that the edge logs it.
    app.add_exception_handler(Exception, _on_defect)
    return app


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return _problem(request, not_found())
    if error.status_code == 405:
        allowed = sorted({*(error.headers or {}).get("Allow", "GET").split(", "), "OPTIONS"})
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"allow": ", ".join(allowed)})
        return _problem(request, not_allowed(allowed))
    code = _CODES.get(error.status_code, "HTTP_ERROR")
    return _response(document(error.status_code, code, str(error.detail), _id(request)))


async def _on_bad_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = [FieldError(_path(one["loc"]), f"{one['msg']}.") for one in error.errors()]
    return _problem(request, Invalid(fields))


async def _on_domain_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DomainError | Refused)
    return _problem(request, error)


async def _on_defect(request: Request, error: Exception) -> Response:
    return _response(internal(_id(request)))


def _path(location: tuple[int | str, ...]) -> str:
    """pydantic's location as the path of a field: the first part says only where it was looked for."""
    path = ""
    for part in location[1:] or location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _id(request: Request) -> str:
    return str(request.scope["state"]["request_id"])


def _problem(request: Request, error: DomainError | Refused) -> Response:
    return _response(problem_of(error, _id(request)))


def _response(answer: Answer) -> Response:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
    return Response(answer.body, answer.status, headers, answer.content_type.decode("latin-1"))
