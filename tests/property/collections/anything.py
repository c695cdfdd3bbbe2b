"""Lists, files and changes of schemas; and one of all the things that can be done."""

from __future__ import annotations

import json
from typing import Any

from tests.property.collections.any_field import Definition, a_field, as_kept, is_many
from tests.property.collections.any_rule import Rules
from tests.property.collections.any_world import Model, Values
from tests.property.collections.any_writes import Writing


class Anything(Writing):
    """Does anything."""

    async def step(self) -> None:
        model = self.chance.choice(self.models)
        who = self.chance.choice(["admin", "user"])
        work = self.chance.choice(
            [
                *[self.create] * 4,
                *(self.create_bad, self.change, self.change_bad, self.count, self.delete, self.batch, self.upsert),
                *(self.bulk_update, self.bulk_delete, self.look, self.walk, self.filter, self.change_schema),
                *(self.round_trip, self.truncate, self.break_schema, self.judge),
            ]
        )
        self.done.append(f"{work.__name__} {model.name} {who}")
        await work(model, who)

    async def walk(self, model: Model, who: str) -> None:
        """By cursor, in any order: every record once, in the order that pages by number have."""
        names = [one["name"] for one in model.seen(who) if one["type"] not in ("json", "geopoint") and not is_many(one)]
        names = self.chance.sample([*names, "id", "created", "updated"], self.chance.randint(0, 3))
        sort = ",".join(self.chance.choice(["", "-", "+"]) + name for name in names)
        params = {"sort": sort, "per_page": "500"}
        status, page = await self.api.ask("GET", f"/{model.name}/records", who=who, params=params)
        assert status == 200, page
        ordered = [shown["id"] for shown in page["items"]]
        seen: list[str] = []
        params["per_page"] = str(self.chance.randint(1, 3))
        while params.get("cursor", "") is not None:
            status, page = await self.api.ask("GET", f"/{model.name}/records", who=who, params=params)
            assert status == 200, page
            seen += [shown["id"] for shown in page["items"]]
            params["cursor"] = page["next_cursor"]
        assert seen == ordered, (sort, seen, ordered)
        assert sorted(seen) == sorted(model.records)

    async def filter(self, model: Model, who: str) -> None:
        """What a field holds finds the records that hold it; hidden fields are unknown."""
        one = self.chance.choice(model.fields)
        if one["type"] in ("json", "geopoint", "autodate"):
            return
        held = [values[one["name"]] for values in model.records.values()]
        values = [value for value in held if value is not None and not isinstance(value, list)]
        texts = [text for value in held if isinstance(value, list) for text in value]
        value = self.chance.choice([None, *values, *texts])
        plain = value is None or not is_many(one)
        op = ("=" if self.chance.random() < 0.7 else "!=") if plain else "?="
        text = f"{one['name']} {op} {json.dumps(value, ensure_ascii=False)}"
        status, page = await self.api.ask(
            "GET", f"/{model.name}/records", who=who, params={"filter": text, "per_page": "500"}
        )
        if one["hidden"] and who != "admin":
            assert (status, page["code"]) == (422, "FILTER_INVALID")
            return
        assert status == 200, (text, page)
        expected = {id for id, record in model.records.items() if _holds(record[one["name"]], op, value)}
        assert {shown["id"] for shown in page["items"]} == expected, text

    async def judge(self, model: Model, who: str) -> None:
        """Under one rule the same records are listed, viewed and changed: by the database's query and one by one."""
        schemas = {other.name: other.fields for other in self.models}
        rule = Rules(self.chance, schemas, self.ids()).rule(model.name)
        self.done.append(rule)
        rules = dict.fromkeys(("list_rule", "view_rule", "update_rule"), rule)
        status, problem = await self.api.ask("PATCH", f"/{model.id}", rules)
        if status != 200:
            assert problem["code"] == "RULE_INVALID", problem
            return
        who = self.chance.choice(["user", "nobody"])
        status, page = await self.api.ask("GET", f"/{model.name}/records", who=who, params={"per_page": "500"})
        assert status == 200, page
        listed = {shown["id"] for shown in page["items"]}
        assert page["total"] == len(listed)
        for id in model.records:
            at = f"/{model.name}/records/{id}"
            assert (await self.api.ask("GET", at, who=who))[0] == (200 if id in listed else 404)
            assert (await self.api.ask("PATCH", at, {"data": {}}, who))[0] == (200 if id in listed else 404)
        await self.api.ask("PATCH", f"/{model.id}", dict.fromkeys(rules, ""))

    # -- out and in -------------------------------------------------------------------------------------------------

    async def truncate(self, model: Model, who: str) -> None:
        pointed = any(other is not model for other, _, _ in self.pointing(set(model.records)))
        cascade = self.chance.random() < 0.7
        status, answer = await self.api.ask(
            "DELETE", f"/name/{model.name}/truncate", params={"cascade": str(cascade).lower()}
        )
        count = len(model.records)
        if pointed and not (cascade and self.delete_in_model(model.records, truncated=True)):
            assert (status, answer["code"]) == (409, "RECORD_REFERENCED"), answer
            return
        model.records = {}
        assert (status, answer) == (200, {"deleted_count": count, "collection": model.name})

    async def round_trip(self, model: Model, who: str) -> None:
        """What was exported and is imported is what there was."""
        form = self.chance.choice(["ndjson", "csv"])
        status, text = await self.api.ask("GET", f"/{model.name}/records/export", params={"format": form})
        assert status == 200
        pointed = any(other is not model for other, _, _ in self.pointing(set(model.records)))
        if model.type == "auth":
            return
        status, answer = await self.api.ask("DELETE", f"/name/{model.name}/truncate")
        assert status == (409 if pointed else 200), answer
        if pointed:
            return
        assert answer == {"deleted_count": len(model.records), "collection": model.name}
        kept, model.records = model.records, {}
        media = {"ndjson": "application/x-ndjson", "csv": "text/csv"}[form]
        own = any(one["type"] == "relation" and one["collection"] == model.name for one in model.fields)
        status, answer = await self.api.ask(
            "POST", f"/{model.name}/records/import", text.encode(), headers={"Content-Type": media}
        )
        assert status == 200, answer
        if not own:
            assert answer == {"created": len(kept), "failed": 0, "errors": []}, (text, answer)
            model.records = kept
            return
        # What points to records of the same collection that come later is refused, as it would be by itself.
        _, page = await self.api.ask("GET", f"/{model.name}/records", params={"per_page": "500"})
        assert len(page["items"]) == answer["created"] == len(kept) - answer["failed"]
        model.records = {shown["id"]: kept[shown["id"]] for shown in page["items"]}

    # -- change of schema -------------------------------------------------------------------------------------------

    async def change_schema(self, model: Model, who: str) -> None:
        fields = [dict(one) for one in model.fields]
        records = {id: dict(values) for id, values in model.records.items()}
        kind = self.chance.choice(["add", "rename", "remove", "reorder", "hide", "again", "swap", "loosen"])
        if kind == "add":
            one = a_field(self.chance, f"n{len(self.done)}", [other.name for other in self.models])
            if one["type"] == "relation" or (one.get("required") and one.get("default") is None):
                one["required"] = False
            fields.insert(self.chance.randint(0, len(fields)), one)
            for values in records.values():
                filled = one.get("required") and one.get("default") is not None
                values[one["name"]] = as_kept(one)["default"] if filled else None
            if one.get("required") and one.get("unique") and len(records) > 1:
                return
        elif kind == "rename":
            one = self.chance.choice(fields)
            old, one["name"] = one["name"], f"r{len(self.done)}"
            for values in records.values():
                values[one["name"]] = values.pop(old)
        elif kind == "swap" and len(fields) > 1:
            one, other = self.chance.sample(fields, 2)
            one["name"], other["name"] = other["name"], one["name"]
            for values in records.values():
                values[one["name"]], values[other["name"]] = values[other["name"]], values[one["name"]]
        elif kind in ("remove", "again") and len(fields) > 1:
            gone = fields.pop(self.chance.randrange(len(fields)))
            for values in records.values():
                del values[gone["name"]]
            if kind == "again":
                await self._set_schema(model, fields, records)
                # The same name and type: nothing of the old values comes back.
                gone.pop("id")
                gone["required"] = False
                fields = [*([dict(one) for one in model.fields]), gone]
                for values in records.values():
                    values[gone["name"]] = None
        elif kind == "hide":
            one = self.chance.choice(fields)
            one["hidden"] = not one["hidden"]
        elif kind == "loosen":
            for one in fields:
                one["required"] = False
                for key in ("min", "max", "min_length", "max_length", "pattern"):
                    one.pop(key, None)
        else:
            self.chance.shuffle(fields)
        await self._set_schema(model, fields, records)

    async def _set_schema(self, model: Model, fields: list[Definition], records: dict[str, Values]) -> None:
        status, answer = await self.api.ask("PATCH", f"/{model.id}", {"schema": fields})
        assert status == 200, (fields, answer)
        self._same_fields(answer["schema"]["fields"], fields)
        model.fields = answer["schema"]["fields"]
        model.records = records
        await self.look(model, "admin")

    async def break_schema(self, model: Model, who: str) -> None:
        """What the records break is refused and changes nothing."""
        fields = [dict(one) for one in model.fields]
        one = self.chance.choice(fields)
        values = [record[one["name"]] for record in model.records.values()]
        if one["type"] == "autodate" or one.get("default") is not None or None not in values or one["required"]:
            return
        one["required"] = True
        if one["type"] == "relation" and one["on_delete"] == "set_null":
            one["on_delete"] = "restrict"
        status, answer = await self.api.ask("PATCH", f"/{model.id}", {"schema": fields})
        assert (status, answer["code"]) == (409, "RECORDS_BREAK_IT"), answer
        status, shown = await self.api.ask("GET", f"/{model.id}")
        assert shown["schema"]["fields"] == model.fields


def _holds(held: Any, op: str, value: Any) -> bool:
    if op == "?=":
        return value in (held or [])
    if isinstance(held, list):
        # All of the values are null: of none at all that is not so.
        return bool(held) and op == "!="
    same = held == value
    return same if op == "=" else not same
