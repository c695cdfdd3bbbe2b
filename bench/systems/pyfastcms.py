"""FastCMS 0.1.6 from PyPI, as its own command starts it: FastAPI, SQLAlchemy, SQLite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from bench.loads import Load, Request
from bench.progress import say
from bench.records import ACCOUNTS, PLAIN, TEXTS, WRITTEN, batches, records
from bench.systems.system import EMAIL, PASSWORD, System, checked
from tests.ports import free_port

_LIST = {"filter": "category=c3", "sort": "-views", "per_page": "30"}
_BATCH = 100


class PyFastCms(System):
    name = "pyfastcms"
    version = "0.1.6"

    def __init__(self) -> None:
        super().__init__()
        self._program = Path()
        self._token = ""
        self._ids: list[str] = []

    def install(self) -> None:
        self._program = self._install_from_pypi("pyfastcms", "fastcms")

    def start(self) -> None:
        data = self._empty()
        (data / "data").mkdir()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        settings = {"SECRET_KEY": "k" * 40, "RATE_LIMIT_ENABLED": "false", "REDIS_ENABLED": "false"}
        options = ["--host", "127.0.0.1", "--port", str(port), "--no-reload", "--skip-check", "--no-open"]
        self._spawn([str(self._program), "dev", *options], settings, folder=data)
        self._wait_until_it_answers("/health")

    def fill(self, count: int) -> None:
        with self.client() as client:
            setup = {"email": EMAIL, "password": PASSWORD, "password_confirm": PASSWORD, "name": "Root"}
            self._token = checked(client.post("/api/v1/setup", json=setup)).json()["token"]["access_token"]
            client.headers["authorization"] = f"Bearer {self._token}"
            for account in ACCOUNTS:
                person = {"email": account, "password": PASSWORD, "password_confirm": PASSWORD, "name": "Person"}
                checked(client.post("/api/v1/auth/register", json=person))
            for collection in (PLAIN, WRITTEN):
                checked(client.post("/api/v1/collections", json=self._schema(collection)))
            say(f"{self.name}: {count:,} records into {PLAIN}")
            for batch in batches(count, _BATCH):
                self._insert(client, batch)

    def _insert(self, client: httpx.Client, batch: list[dict[str, Any]]) -> None:
        """Its batches fail for every other record ("Could not refresh instance"); those are sent again."""
        for _ in range(20):
            answer = checked(client.post(f"/api/v1/collections/{PLAIN}/records/batch", json={"records": batch})).json()
            self._ids.extend(record["id"] for record in answer["records"])
            batch = [batch[error["index"]] for error in answer["errors"] or ()]
            if not batch:
                return
        raise SystemExit(f"{self.name}: {answer['errors'][:2]}")

    @staticmethod
    def _schema(collection: str) -> dict[str, Any]:
        fields = [{"name": name, "type": "text"} for name in TEXTS]
        fields += [{"name": "views", "type": "number"}, {"name": "featured", "type": "bool"}]
        return {
            "name": collection,
            "type": "base",
            "schema": fields,
            "list_rule": "",
            "view_rule": "",
            "create_rule": "",
        }

    def load(self, kind: str) -> Load | None:
        if kind.startswith("indexed"):
            # A collection cannot be given an index.
            return None
        if kind == "health":
            return Load([Request("GET", "/health")], {})
        if kind == "login":
            logins = [json.dumps({"email": account, "password": PASSWORD}) for account in ACCOUNTS]
            requests = [Request("POST", "/api/v1/auth/login", login) for login in logins]
            return Load(requests, {"Content-Type": "application/json"})
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        return Load(self._signed_in(kind), headers)

    def _signed_in(self, kind: str) -> list[Request]:
        if kind == "me":
            return [Request("GET", "/api/v1/auth/me")]
        if kind == "get":
            return [Request("GET", f"/api/v1/collections/{PLAIN}/records/{id_}") for id_ in self._ids]
        if kind == "create":
            path = f"/api/v1/collections/{WRITTEN}/records"
            return [Request("POST", path, json.dumps({"data": record})) for record in records(500)]
        query = _LIST | ({"skipTotal": "true"} if kind.endswith("uncounted") else {})
        return [Request("GET", f"/api/v1/collections/{PLAIN}/records?{urlencode(query)}")]
