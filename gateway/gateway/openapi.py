from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.routes import Route


def build_openapi(routes: Iterable[Route]) -> dict[str, Any]:
    return {"openapi": "3.1.0"}
