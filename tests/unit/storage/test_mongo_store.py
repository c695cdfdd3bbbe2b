"""What the MongoDB engine does when a document moves between two of its calls; no server is asked."""

from __future__ import annotations

from typing import Any

import pytest

from fastcms_common.errors import Invalid, Unavailable
from fastcms_common.storage import Change, Duplicate, Index, Table, open_store
from fastcms_common.storage import mongo_store as module
from fastcms_common.storage.mongo_changes import Step, adapted, update_of
from fastcms_common.storage.mongo_errors import Refused, duplicate
from fastcms_common.storage.mongo_store import MongoStore
from fastcms_common.storage.rules import TableRules

RULES = TableRules.of(Table("things", (Index("email", unique=True),)))
CHANGE = Change({"seen": True}, inc={"n": 1})


class Collection:
    """A collection whose document is what the script says at each look, and that records what it was asked to do."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.steps: list[dict[str, Any]] = []

    async def find_one_and_update(self, condition: Any, update: Any, **_: Any) -> Any:
        self.steps.append(update)
        return self._next()

    async def find_one(self, *_: Any) -> Any:
        return self._next()

    def _next(self) -> Any:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def update(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> Any:
    store = await open_store("mongodb://127.0.0.1:1", "test")
    assert isinstance(store, MongoStore)
    monkeypatch.setattr(store, "_collection", lambda rules: collection)
    try:
        return await store._update(RULES, "1", CHANGE, module.ALL, "after")
    finally:
        await store.close()


async def test_null_becomes_a_set_and_a_number_in_the_meantime_an_increment_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collection = Collection(Refused(), {"_id": "1", "n": None}, None, {"_id": "1", "n": 8})
    assert await update(collection, monkeypatch) == {"id": "1", "n": 8}
    assert collection.steps == [
        {"$set": {"seen": True}, "$inc": {"n": 1}},
        {"$set": {"seen": True, "n": 1}},
        {"$set": {"seen": True}, "$inc": {"n": 1}},
    ]


async def test_a_document_that_went_away_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await update(Collection(Refused(), None), monkeypatch) is None
    assert await update(Collection(None), monkeypatch) is None


async def test_what_the_document_does_not_allow_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Invalid):
        await update(Collection(Refused(), {"_id": "1", "n": "text"}), monkeypatch)


async def test_a_refusal_that_nothing_explains_is_not_repeated_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    collection = Collection(*[Refused(), {"_id": "1", "n": 1}] * 2)
    with pytest.raises(Refused):
        await update(collection, monkeypatch)
    assert len(collection.steps) == 2


async def test_a_document_that_never_rests_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    moves = [move for number in range(20) for move in (Refused(), {"_id": "1", "n": None, "other": number})]
    with pytest.raises(Unavailable):
        await update(Collection(*moves), monkeypatch)


def test_a_change_is_adapted_to_what_is_null_and_what_is_no_list() -> None:
    change = Change(
        inc={"n": 1, "d.n": 2}, push={"p": [1]}, add_to_set={"s": ["a"]}, remove={"r": [1], "x.y": [1], "l": [1]}
    )
    step = adapted(change, {"id": "1", "n": None, "d": {"n": 5}, "p": None, "s": ["b"], "r": None, "x": 7, "l": [1]})
    assert update_of(step.change) == {
        "$set": {"n": 1, "p": [1]},
        "$inc": {"d.n": 2},
        "$addToSet": {"s": {"$each": ["a"]}},
        "$pullAll": {"l": [1]},
    }
    assert {"n": {"$type": "null"}} in step.conditions
    assert {"$or": [{"x": {"$type": "array"}}, {"x.y": {"$not": {"$type": "array"}}}]} in step.conditions
    assert adapted(Change(inc={"n": 1}), {"id": "1", "n": 1}) == Step(Change(inc={"n": 1}))


@pytest.mark.parametrize(
    ("message", "index"),
    [
        ('E11000 duplicate key error collection: d.things index: ix_email dup key: { email: "a" }', "email"),
        ('E11000 duplicate key error collection: d.things index: _id_ dup key: { _id: "1" }', "id"),
        ("E11000 duplicate key error collection: d.things index: ix_gone by dup key: { x: 1 }", "gone by"),
        ("E11000 duplicate key error collection: d.things", ""),
    ],
)
def test_a_duplicate_is_named_after_the_servers_words(message: str, index: str) -> None:
    error = duplicate(RULES, {"errmsg": message})
    assert isinstance(error, Duplicate)
    assert error.index == index


@pytest.mark.parametrize("url", ["redis://x", "sqlite://host/path", "sqlite:", "mongodb://", "file:///x", ""])
async def test_a_storage_url_that_is_none_is_a_mistake(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        await open_store(url, "test")
