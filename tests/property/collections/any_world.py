"""Random collections, what was done to them, and what they have to hold: a model in memory beside the API."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fastcms_common.ids import new_id
from tests.property.collections.any_field import Definition, a_bad_value, a_field, a_value, as_kept, is_many
from tests.property.collections.api import Api

Values: TypeAlias = dict[str, Any]
OPEN = {f"{rule}_rule": "" for rule in ("list", "view", "create", "update", "delete")}


@dataclass
class Model:
    """One collection: its fields as the API shows them, its records by id as admins see them."""

    id: str
    name: str
    type: str
    fields: list[Definition]
    records: dict[str, Values] = field(default_factory=dict)

    def named(self, name: str) -> Definition:
        return next(one for one in self.fields if one["name"] == name)

    def seen(self, who: str) -> list[Definition]:
        return [one for one in self.fields if who == "admin" or not one["hidden"]]

    def shown(self, id: str, who: str) -> Values:
        """The values of a record that somebody gets; autodates aside, which nobody can foretell."""
        return {one["name"]: self.records[id][one["name"]] for one in self.seen(who) if one["type"] != "autodate"}


class World:
    """The collections, the API, and what answers are held to. `done` tells what was done."""

    def __init__(self, api: Api, chance: random.Random) -> None:
        self.api = api
        self.chance = chance
        self.models: list[Model] = []
        self.done: list[str] = []

    # -- schemas ----------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Makes collections that point to themselves and to those before them."""
        for number in range(self.chance.randint(1, 3)):
            name = f"c{number}_{new_id().replace('-', '')}"
            targets = [name, *(model.name for model in self.models)]
            fields = [a_field(self.chance, f"f{index}", targets) for index in range(self.chance.randint(1, 7))]
            type = self.chance.choice(["base", "base", "auth"])
            body = {"name": name, "type": type, "schema": {"fields": fields}, **OPEN}
            self.done.append(f"make {json.dumps(body)}")
            status, made = await self.api.ask("POST", "", body)
            assert status == 201, (body, made)
            assert made["name"] == name
            self._same_fields(made["schema"]["fields"], fields)
            self.models.append(Model(made["id"], name, type, made["schema"]["fields"]))

    @staticmethod
    def _same_fields(shown: list[Definition], sent: list[Definition]) -> None:
        for one, other in zip(shown, map(as_kept, sent), strict=True):
            for key, value in other.items():
                if value is not None:
                    assert one[key] == value, (key, one, other)

    # -- bodies -----------------------------------------------------------------------------------------------------

    def ids(self) -> dict[str, list[str]]:
        return {model.name: list(model.records) for model in self.models}

    def body(self, model: Model, who: str) -> tuple[Values, Values]:
        """Sound data and what is kept of it; LookupError where there cannot be any."""
        sent: Values = {}
        kept: Values = {}
        for one in model.fields:
            name, default = one["name"], one.get("default")
            kept[name] = default
            if one["type"] == "autodate":
                continue
            hidden = one["hidden"] and who != "admin"
            if hidden and one["required"] and default is None:
                raise LookupError("only admins can")
            if hidden or (self.chance.random() < 0.4 and not (one["required"] and default is None)):
                continue
            if not one["required"] and self.chance.random() < 0.15:
                sent[name] = kept[name] = None
                continue
            try:
                sent[name], kept[name] = a_value(self.chance, one, self.ids())
            except LookupError:
                if one["required"]:
                    raise
        return sent, kept

    def breaks_unique(self, model: Model, values: Values, but: Iterable[str] = ()) -> bool:
        """Whether another record has one of the values in a field that is unique."""
        others = [record for id, record in model.records.items() if id not in but]
        return any(
            values.get(one["name"]) is not None and any(record[one["name"]] == values[one["name"]] for record in others)
            for one in model.fields
            if one["unique"]
        )

    def _same(self, model: Model, shown: Any, who: str) -> None:
        assert set(shown) == {"id", "data", "created", "updated", "expand"}
        data = {name: value for name, value in shown["data"].items() if self._kept(model, name)}
        expected = model.shown(shown["id"], who)
        assert self.exact(data) == self.exact(expected), (data, expected)

    @staticmethod
    def _kept(model: Model, name: str) -> bool:
        fixed = model.type == "auth" and name in ("email", "verified", "email_visibility")
        return not fixed and model.named(name)["type"] != "autodate"

    @staticmethod
    def exact(value: Any) -> str:
        """1 is not 1.0 and not true."""
        return json.dumps(value, sort_keys=True)

    def spoil(self, model: Model, sent: Values, who: str) -> list[str]:
        """Puts bad values into sound data; the names of the fields that have to be told of."""
        spoilt = self.chance.sample(model.fields, self.chance.randint(1, min(3, len(model.fields))))
        for one in spoilt:
            sent[one["name"]] = a_bad_value(self.chance, one)
        names = [one["name"] for one in spoilt]
        if self.chance.random() < 0.3:
            sent[unknown := self.chance.choice(["nope", "$set", "a.b", "", "__proto__", "id", "created"])] = 1
            names.append(unknown)
        return names

    def told(self, problem: Any, names: list[str], prefix: str = "data.") -> None:
        """Every bad field is named, none of the others is."""
        fields = {error["field"] for error in problem["errors"]}
        for name in names:
            assert any(told.startswith(prefix + name) for told in fields), (name, problem)
        for told in fields:
            assert any(told.startswith(prefix + name) for name in names), (told, names, problem)

    @staticmethod
    def _dangles(model: Model, name: str, sent: Values, who: str) -> bool:
        """Whether all that is wrong is that there is no such record, which is looked up when all else is right."""
        one = next((one for one in model.seen(who) if one["name"] == name), None)
        if one is None or one["type"] != "relation":
            return False
        value = sent[name]
        ids = value if isinstance(value, list) else [value]
        most = one.get("max_select") or 1
        shaped = isinstance(value, list) == is_many(one) and all(isinstance(id, str) and len(id) == 36 for id in ids)
        return shaped and len(set(ids)) == len(ids) <= most and all(id == id.lower() for id in ids) and bool(ids)

    def some(self, model: Model, most: int = 3) -> list[str]:
        return self.chance.sample(list(model.records), min(len(model.records), self.chance.randint(1, most)))

    def patch(self, model: Model, who: str) -> tuple[Values, Values]:
        """Sound changes without steps, as they are sent and as they are kept."""
        sent: Values = {}
        kept: Values = {}
        for one in self.chance.sample(model.seen(who), self.chance.randint(0, len(model.seen(who)))):
            if one["type"] == "autodate":
                continue
            if not one["required"] and self.chance.random() < 0.2:
                sent[one["name"]] = kept[one["name"]] = None
                continue
            try:
                sent[one["name"]], kept[one["name"]] = a_value(self.chance, one, self.ids())
            except LookupError:
                continue
        return sent, kept

    # -- what they hold ------------------------------------------------------------------------------------------------

    async def look(self, model: Model, who: str) -> None:
        """Everything, by one list and one by one, with what relations lead to."""
        relations = [one for one in model.seen(who) if one["type"] == "relation"]
        params = {"per_page": "500", "expand": ",".join(one["name"] for one in relations)}
        status, page = await self.api.ask("GET", f"/{model.name}/records", who=who, params=params)
        assert status == 200, page
        assert {shown["id"] for shown in page["items"]} == model.records.keys()
        assert page["total"] == len(model.records)
        for shown in page["items"]:
            self._same(model, shown, who)
            for one in relations:
                held = shown["data"][one["name"]]
                there = (shown["expand"] or {}).get(one["name"])
                if isinstance(held, list):
                    assert [inner["id"] for inner in there] == held
                elif held is not None:
                    assert there["id"] == held
        for id in self.some(model, 2) if model.records else []:
            wanted = [one["name"] for one in model.seen(who)][:1]
            status, shown = await self.api.ask(
                "GET", f"/{model.name}/records/{id}", who=who, params={"fields": ",".join(["id", *wanted])}
            )
            assert (status, list(shown["data"])) == (200, wanted), shown

    def pointing(self, gone: set[str]) -> Iterable[tuple[Model, str, Definition]]:
        """The records that point to one of these, with the relation."""
        for model in self.models:
            for one in model.fields:
                if one["type"] != "relation":
                    continue
                for id, values in model.records.items():
                    held = values[one["name"]]
                    if gone & set(held if isinstance(held, list) else [held]):
                        yield model, id, one

    def delete_in_model(self, ids: Iterable[str], *, truncated: bool = False) -> bool:
        """What deleting these entails. False, and nothing done, where a relation restricts it. Where all records of a
        collection go, what `restrict` holds to them goes with them."""
        gone = set(ids)
        if truncated:
            gone |= {id for _, id, one in self.pointing(gone) if one["on_delete"] == "restrict"}
        while more := {id for _, id, one in self.pointing(gone) if one["on_delete"] == "cascade"} - gone:
            gone |= more
        left = [found for found in self.pointing(gone) if found[1] not in gone]
        if any(one["on_delete"] == "restrict" for _, _, one in left):
            return False
        for model, id, one in left:
            held = model.records[id][one["name"]]
            model.records[id][one["name"]] = [x for x in held if x not in gone] if isinstance(held, list) else None
        for model in self.models:
            for id in gone & model.records.keys():
                del model.records[id]
        return True

    async def end(self) -> None:
        """Everything is as the model has it, for everyone; and then it goes."""
        for model in self.models:
            for who in ("admin", "user"):
                await self.look(model, who)
        left = list(self.models)
        while left:
            deleted = [model for model in left if (await self.api.ask("DELETE", f"/{model.id}"))[0] == 204]
            if not deleted:
                await self.api.ask("PATCH", f"/{left[0].id}", {"schema": []})
            left = [model for model in left if model not in deleted]
