"""The REST API of collections-service as it really is, in this process: HTTP, the gateway, gRPC, the service."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson

from fastcms.collections.v1 import collections_pb2, profiles_pb2, records_pb2
from fastcms_common.ids import new_id
from fastcms_common.process import Process
from gateway.__main__ import build
from gateway.config import Settings
from gateway.routes import compile_routes
from tests.contract.collections.keys import Keys, serving
from tests.contract.collections.server import CollectionsServer, collections_server

SERVICES = [
    collections_pb2.DESCRIPTOR.services_by_name["CollectionsService"],
    records_pb2.DESCRIPTOR.services_by_name["RecordsService"],
]


class Api:
    """Requests of an admin, a user and nobody. Every answer is one that a caller may be given: never a 500."""

    def __init__(self, client: httpx.AsyncClient, server: CollectionsServer, tokens: dict[str, str]) -> None:
        self._client = client
        self._server = server
        self._tokens = tokens

    async def ask(
        self, method: str, path: str, body: Any = None, who: str = "admin", **options: Any
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer, or its text where it is none. A body that is no text goes as JSON."""
        headers = {"Authorization": f"Bearer {self._tokens[who]}"} if who in self._tokens else {}
        headers |= options.pop("headers", {})
        if body is not None:
            # Python's own JSON: it also writes what is none, such as NaN and half a surrogate pair.
            options["content"] = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        answer = await self._client.request(method, f"/api/v1/collections{path}", headers=headers, **options)
        assert answer.status_code < 500, (method, path, body, answer.status_code, answer.text)
        if answer.status_code >= 400:
            problem = answer.json()
            assert answer.headers["content-type"] == "application/problem+json"
            assert problem["status"] == answer.status_code
            assert (answer.status_code == 422) <= bool(problem["errors"]), problem
            return answer.status_code, problem
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return answer.status_code, answer.json() if is_json else answer.text

    async def join(self, collection: str, data: dict[str, Any]) -> dict[str, Any]:
        """A new member of an auth collection, as auth-service makes the record; the record's id and values."""
        id = new_id()
        profile = profiles_pb2.CreateProfileRequest(
            collection=collection, id=id, email=f"{id}@example.com", data=orjson.dumps(data)
        )
        made = await self._server.call(self._server.profiles.CreateProfile, profile, await self._server.service())
        return dict(orjson.loads(made.record))


@contextlib.asynccontextmanager
async def api(redis_url: str, home: Path) -> AsyncIterator[Api]:
    """Starts both on an empty SQLite database."""
    keys = Keys()
    async with serving(keys) as keys_at, collections_server(keys, keys_at, redis_url, f"sqlite://{home}") as server:
        settings = Settings(
            redis_url=redis_url,
            auth_service=keys_at,
            collections_service=server.settings.listen,
            access_log=False,
            call_seconds=60.0,
        )
        async with Process(settings, "gateway") as process:
            app = build(
                settings,
                compile_routes(SERVICES),
                {"fastcms.collections.v1": process.raw_channel(settings.collections_service)},
                process.authenticator,
                checks={},
                lifespan=contextlib.nullcontext,  # type: ignore[arg-type]
                admit=lambda request: None,
            )
            tokens = {"admin": server.admin, "user": await server.user()}
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=60
            ) as client:
                yield Api(client, server, tokens)
