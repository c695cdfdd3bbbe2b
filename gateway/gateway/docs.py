"""`/docs` and `/openapi.json`. Swagger UI comes from this package: the page works without the internet."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.routing import Mount

STATIC: Final = Path(__file__).parent / "static"

# Swagger UI sets style attributes; scripts come from files of ours only.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def build_router(openapi: bytes) -> APIRouter:
    """The routes, serving the document `openapi` (JSON)."""
    router = APIRouter(include_in_schema=False)
    etag = f'"{hashlib.sha256(openapi).hexdigest()[:32]}"'

    @router.api_route("/docs", methods=["GET", "HEAD"])
    async def show_docs() -> Response:
        return FileResponse(
            STATIC / "docs.html", headers={"content-security-policy": _POLICY, "cache-control": "no-cache"}
        )

    @router.api_route("/openapi.json", methods=["GET", "HEAD"])
    async def show_openapi(request: Request) -> Response:
        headers = {"etag": etag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(openapi, media_type="application/json", headers=headers)

    router.routes.append(Mount("/docs/assets", StaticFiles(directory=STATIC)))
    return router
