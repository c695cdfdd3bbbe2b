"""Records written through the API in every way there is, and the same done to the model."""

from __future__ import annotations

from typing import Any

from fastcms_common.ids import new_id
from tests.property.collections.any_field import Definition, bounds, has_steps
from tests.property.collections.any_world import Model, Values, World


class Writing(World):
    """Creates, changes and deletes, sound and unsound."""

    async def create(self, model: Model, who: str) -> None:
        try:
            sent, kept = self.body(model, who)
        except LookupError:
            return
        if model.type == "auth":
            if any(name in sent for name in (one["name"] for one in model.fields if one["hidden"])) or any(
                one["hidden"] and one["required"] and one.get("default") is None for one in model.fields
            ):
                return
            if not self.breaks_unique(model, kept):
                made = await self.api.join(model.name, sent)
                model.records[made["id"]] = kept
            return
        body: Values = {"data": sent}
        if self.chance.random() < 0.3:
            body["id"] = new_id()
        status, made = await self.api.ask("POST", f"/{model.name}/records", body, who)
        if self.breaks_unique(model, kept):
            assert status == 409, (body, made)
            return
        assert status == 201, (body, made)
        model.records[made["id"]] = kept
        self._same(model, made, who)

    async def create_bad(self, model: Model, who: str) -> None:
        try:
            sent, _ = self.body(model, who)
        except LookupError:
            return
        bad = self.spoil(model, sent, who)
        status, problem = await self.api.ask("POST", f"/{model.name}/records", {"data": sent}, who)
        if model.type == "auth":
            assert status == 403
            return
        assert status == 422, (sent, problem)
        if not _only_missing_records(problem):
            self.told(problem, [name for name in bad if not self._dangles(model, name, sent, who)] or bad)

    async def change(self, model: Model, who: str) -> None:
        for id in self.some(model, 1) if model.records else []:
            sent, kept = self.patch(model, who)
            status, shown = await self.api.ask("PATCH", f"/{model.name}/records/{id}", {"data": sent}, who)
            if self.breaks_unique(model, kept, but=[id]):
                assert status == 409, (sent, shown)
                continue
            assert status == 200, (sent, shown)
            model.records[id].update(kept)
            self._same(model, shown, who)

    async def change_bad(self, model: Model, who: str) -> None:
        for id in self.some(model, 1) if model.records else []:
            sent, _ = self.patch(model, who)
            bad = self.spoil(model, sent, who)
            status, problem = await self.api.ask("PATCH", f"/{model.name}/records/{id}", {"data": sent}, who)
            assert status == 422, (sent, problem)
            if not _only_missing_records(problem):
                self.told(problem, [name for name in bad if not self._dangles(model, name, sent, who)] or bad)

    async def count(self, model: Model, who: str) -> None:
        """Steps."""
        stepped = [one for one in model.seen(who) if has_steps(one)]
        if not stepped or not model.records:
            return
        (id,), one = self.some(model, 1), self.chance.choice(stepped)
        sign, held = self.chance.choice("+-"), model.records[id][one["name"]]
        if held == 0 and isinstance(held, float):
            # Near the limits it is a matter of taste whether -0.0 makes the sum a float.
            return
        body, kept, fits = self._step(one, sign, held)
        status, shown = await self.api.ask(
            "PATCH", f"/{model.name}/records/{id}", {"data": {one["name"] + sign: body}}, who
        )
        others = self.breaks_unique(model, {one["name"]: kept}, but=[id])
        assert status == (422 if not fits else 409 if others else 200), (one, sign, held, body, shown)
        if status == 200:
            model.records[id][one["name"]] = kept
            self._same(model, shown, who)

    def _step(self, one: Definition, sign: str, held: Any) -> tuple[Any, Any, bool]:
        if one["type"] == "number":
            amount = self.chance.choice([1, 2, 0, 3.5, -2, 2**53 + 1, 2**63 - 1, -(2**63)])
            total = (0 if held is None else held) + (amount if sign == "+" else -amount)
            step = amount if sign == "+" else -amount
            whole = all(not isinstance(number, int) or -(2**63) <= number < 2**63 for number in (step, total))
            low, high = bounds(one)
            unbounded = one["min"] is None
            return amount, total, whole and (unbounded or low <= total <= high)
        among = one["values"] if one["type"] == "select" else self.ids()[one["collection"]]
        amount = self.chance.sample(among, min(len(among), self.chance.randint(0, 2)))
        if sign == "+":
            if not amount:
                return amount, held, bool(held) or not one["required"]
            kept = [*(held or []), *(value for value in amount if value not in (held or []))]
            return amount, kept, len(kept) <= one["max_select"]
        kept = held and [value for value in held if value not in amount]
        return amount, kept, bool(kept) or not one["required"]

    async def delete(self, model: Model, who: str) -> None:
        for id in self.some(model, 1) if model.records else []:
            status, problem = await self.api.ask("DELETE", f"/{model.name}/records/{id}", who=who)
            assert status == (204 if self.delete_in_model([id]) else 409), problem

    async def bulk_delete(self, model: Model, who: str) -> None:
        ids = self.some(model) if model.records else []
        body = {"record_ids": ids}
        if self.chance.random() < 0.5:
            status, answer = await self.api.ask("POST", f"/{model.name}/records/bulk-delete?atomic=true", body, who)
            assert status == (200 if self.delete_in_model(ids) else 409), answer
            return
        # One at a time, so that the model knows in which order.
        for id in ids:
            there = id in model.records
            status, answer = await self.api.ask("POST", f"/{model.name}/records/bulk-delete", {"record_ids": [id]}, who)
            deleted = there and self.delete_in_model([id])
            assert (status, answer["success"], answer["failed"]) == (200, int(deleted), int(not deleted)), answer

    async def batch(self, model: Model, who: str) -> None:
        atomic = self.chance.random() < 0.5
        records, expected = [], []
        for _ in range(self.chance.randint(0, 5)):
            try:
                sent, kept = self.body(model, who)
            except LookupError:
                return
            bad = self.chance.random() < 0.2
            if bad:
                self.spoil(model, sent, who)
            fine = not bad and not self.breaks_unique(model, kept) and not _collides(model, kept, expected)
            records.append({"data": sent})
            expected.append(kept if fine else None)
        if model.type == "auth":
            return
        status, answer = await self.api.ask(
            "POST", f"/{model.name}/records/batch?atomic={str(atomic).lower()}", {"records": records}, who
        )
        self._taken_in(model, who, atomic, expected, status, answer)

    def _taken_in(
        self, model: Model, who: str, atomic: bool, expected: list[Values | None], status: int, answer: Any
    ) -> None:
        if atomic and None in expected:
            assert status in (409, 422), answer
            return
        assert status == 201, answer
        assert (answer["created"], answer["failed"]) == (len(expected) - expected.count(None), expected.count(None))
        assert [error["index"] for error in answer["errors"]] == [
            index for index, kept in enumerate(expected) if kept is None
        ]
        for shown, kept in zip(answer["records"], [one for one in expected if one is not None], strict=True):
            model.records[shown["id"]] = kept
            self._same(model, shown, who)

    async def bulk_update(self, model: Model, who: str) -> None:
        ids = self.some(model) if model.records else []
        sent, kept = self.patch(model, who)
        if any(kept.get(one["name"]) is not None for one in model.fields if one["unique"]):
            return
        atomic = self.chance.random() < 0.5
        unknown = [new_id()] if self.chance.random() < 0.3 else []
        status, answer = await self.api.ask(
            "POST",
            f"/{model.name}/records/bulk-update?atomic={str(atomic).lower()}",
            {"record_ids": [*ids, *unknown], "data": sent},
            who,
        )
        if atomic and unknown:
            assert status == 404, answer
            return
        assert (status, answer["success"], answer["failed"]) == (200, len(ids), len(unknown)), answer
        for id in ids:
            model.records[id].update(kept)

    async def upsert(self, model: Model, who: str) -> None:
        if model.type == "auth":
            return
        old = self.some(model) if model.records else []
        patch, changed = self.patch(model, who)
        if any(changed.get(one["name"]) is not None for one in model.fields if one["unique"]):
            return
        try:
            sent, kept = self.body(model, who)
        except LookupError:
            return
        if self.breaks_unique(model, kept):
            return
        own = new_id()
        records = [*({"id": id, "data": patch} for id in old), {"id": own, "data": sent}]
        self.chance.shuffle(records)
        atomic = str(self.chance.random() < 0.5).lower()
        status, answer = await self.api.ask(
            "POST", f"/{model.name}/records/upsert?atomic={atomic}", {"records": records}, who
        )
        assert (status, answer["created"], answer["updated"], answer["failed"]) == (200, 1, len(old), 0), answer
        for id in old:
            model.records[id].update(changed)
        model.records[own] = kept
        assert [shown["id"] for shown in answer["records"]] == [record["id"] for record in records]
        for shown in answer["records"]:
            self._same(model, shown, who)


def _only_missing_records(problem: Any) -> bool:
    return all("there is no such record" in error["message"] for error in problem["errors"])


def _collides(model: Model, kept: Values, others: list[Values | None]) -> bool:
    return any(
        other is not None and kept[one["name"]] is not None and other[one["name"]] == kept[one["name"]]
        for other in others
        for one in model.fields
        if one["unique"]
    )
