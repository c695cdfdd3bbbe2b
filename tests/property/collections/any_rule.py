"""Rules about any fields. Not all of them fit the schema: those are for the type checker to refuse."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping

from tests.property.collections.any_field import Definition, a_value, is_many

OPS = ("=", "!=", ">", "<=", "~", "!~", "?=", "?!=", "?<", "?~")
PLAIN = ("@request.auth.id != ''", "@request.auth.id = ''", "id != ''", "created < @now", "1 = 1")
MAX_DEPTH = 2


class Rules:
    """Makes rules. `schemas` are the fields of each collection by its name, `ids` of its records."""

    def __init__(
        self, chance: random.Random, schemas: Mapping[str, list[Definition]], ids: dict[str, list[str]]
    ) -> None:
        self._chance = chance
        self._schemas = schemas
        self._ids = ids

    def rule(self, collection: str, depth: int = 0) -> str:
        chance = self._chance
        bang = chance.choice(["", "", "", "!"])
        if depth == MAX_DEPTH or chance.random() < 0.5:
            return bang + self._comparison(collection)
        sides = [self.rule(collection, depth + 1) for _ in range(2)]
        return f"{bang}({chance.choice([' && ', ' || ']).join(sides)})"

    def _comparison(self, collection: str) -> str:
        chance = self._chance
        kind = chance.random()
        if kind < 0.1:
            return chance.choice(PLAIN)
        own = chance.choice(self._schemas[collection])["name"]
        if kind < 0.2:
            other = chance.choice(list(self._schemas))
            return f"@collection.{other}.{chance.choice(self._schemas[other])['name']} = {own}"
        path, field = self._path(collection)
        if kind < 0.3:
            return f"{path} {chance.choice(['=', '!=', '<', '>='])} {own}"
        if field["type"] == "autodate":
            return f"{path} {chance.choice(['=', '!=', '<'])} @now"
        if is_many(field) and kind < 0.5:
            return f"{path}:length {chance.choice(['=', '>', '<='])} {chance.randint(0, 2)}"
        return f"{path} {chance.choice(OPS)} {self._literal(field)}"

    def _path(self, collection: str, hops: int = 0) -> tuple[str, Definition]:
        field = self._chance.choice(self._schemas[collection])
        if field["type"] == "relation" and hops < MAX_DEPTH and self._chance.random() < 0.6:
            behind, last = self._path(field["collection"], hops + 1)
            return f"{field['name']}.{behind}", last
        if field["type"] == "geopoint":
            return f"{field['name']}.lat", {"name": "lat", "type": "number", "required": False}
        return field["name"], field

    def _literal(self, field: Definition) -> str:
        try:
            value = a_value(self._chance, field, self._ids)[0]
        except LookupError:
            value = None
        if isinstance(value, list):
            value = value[0] if value else None
        return json.dumps(None if isinstance(value, list | dict) else value, ensure_ascii=False)
