"""A small world of collections that point to each other, with every kind of value and every kind of gap."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any, TypeVar

from collections_service.catalog import Snapshot
from collections_service.models import RULES, Collection, FieldDefinition
from collections_service.policy import Session
from collections_service.store import CollectionStore
from fastcms_common.context import Caller
from fastcms_common.storage import Document, open_store

T = TypeVar("T")

F = FieldDefinition
TEAMS = Collection(
    "00000000-0000-7000-8000-0000000000a1",
    "teams",
    "base",
    (
        F("tname", "name", "text"),
        F("tlevel", "level", "number"),
        F("tflags", "flags", "select", values=("a", "b", "c"), max_select=3),
    ),
    {},
    dict.fromkeys(RULES),
    (),
    "",
    "",
)
MEMBERS = Collection(
    "00000000-0000-7000-8000-0000000000a2",
    "members",
    "auth",
    (
        F("mname", "name", "text"),
        F("mteam", "team", "relation", collection=TEAMS.id),
        F("mteams", "teams", "relation", collection=TEAMS.id, max_select=3),
    ),
    {},
    dict.fromkeys(RULES),
    (),
    "",
    "",
)
POSTS = Collection(
    "00000000-0000-7000-8000-0000000000a3",
    "posts",
    "base",
    (
        F("ptitle", "title", "text"),
        F("pn", "n", "number"),
        F("pok", "ok", "bool"),
        F("ptags", "tags", "select", values=("a", "b", "c"), max_select=3),
        F("pday", "day", "date"),
        F("pat", "at", "datetime"),
        F("pmeta", "meta", "json"),
        F("pauthor", "author", "relation", collection=MEMBERS.id),
        F("pauthors", "authors", "relation", collection=MEMBERS.id, max_select=3),
    ),
    {},
    dict.fromkeys(RULES),
    (),
    "",
    "",
)
STAMP = "2026-01-01T00:00:00.000000Z"
TEXTS = ("", "a", "b", "ab", "A", "ÄB", "%", "a_b", "ß", "1")
TIMES = ("2026-01-01T00:00:00.000000Z", "2026-01-01T10:00:00.000000Z", "2026-01-02T00:00:00.000000Z")


class World:
    """The collections in a real store, and their documents in memory."""

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner()
        self.store = CollectionStore(self.run(open_store(url, "world")))
        self.snapshot = Snapshot([TEAMS, MEMBERS, POSTS], {})
        self.docs = {TEAMS.id: _teams(), MEMBERS.id: _members(), POSTS.id: _posts()}
        for collection in self.snapshot.all():
            self.run(self.store.drop_table(collection))
            self.run(self.store.ensure_table(collection))
            refused = self.run(self.store.insert_many(collection, self.docs[collection.id]))
            assert not any(refused)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def session(self, caller: Caller | None) -> Session:
        return Session(self.store, self.snapshot, "PATCH", {"q": "a"}, caller)

    def close(self) -> None:
        self.run(self.store.close())
        self.runner.close()


def _id(kind: int, number: int) -> str:
    return f"00000000-0000-7000-800{kind}-{number:012x}"


TEAM_IDS = [_id(1, number) for number in range(6)]
MEMBER_IDS = [_id(2, number) for number in range(10)]


def _doc(id: str, **values: Any) -> Document:
    given = {key: value for key, value in values.items() if value is not None}
    return {"id": id, "created": STAMP, "updated": STAMP, "rev": "r", **given}


def _teams() -> list[Document]:
    chance = random.Random(1)
    return [
        _doc(
            id,
            tname=chance.choice([None, *TEXTS]),
            tlevel=chance.choice([None, 0, 1, 1.5, -2]),
            tflags=chance.choice([None, [], ["a"], ["a", "b"], ["c", "b", "a"]]),
        )
        for id in TEAM_IDS
    ]


def _members() -> list[Document]:
    chance = random.Random(2)
    return [
        _doc(
            id,
            email=f"m{number}@example.com",
            verified=chance.choice([True, False]),
            email_visibility=chance.choice([None, True, False]),
            mname=chance.choice([None, *TEXTS]),
            mteam=chance.choice([None, *TEAM_IDS]),
            mteams=chance.choice([None, [], TEAM_IDS[:1], TEAM_IDS[1:3], TEAM_IDS[3:6]]),
        )
        for number, id in enumerate(MEMBER_IDS)
    ]


def _posts() -> list[Document]:
    chance = random.Random(3)
    return [
        _doc(
            _id(3, number),
            ptitle=chance.choice([None, *TEXTS]),
            pn=chance.choice([None, 0, 1, 1.0, 2.5, -1, 2**53 + 1]),
            pok=chance.choice([None, True, False]),
            ptags=chance.choice([None, [], ["a"], ["b", "a"], ["a", "b", "c"]]),
            pday=chance.choice([None, "2026-01-01", "2026-01-02"]),
            pat=chance.choice([None, *TIMES]),
            pmeta=chance.choice(
                [None, 1, "a", True, [], [1, "a"], {"k": 1}, {"k": [1, 2]}, {"k": None}, [[1]], {"k": {"k": "a"}}]
            ),
            pauthor=chance.choice([None, *MEMBER_IDS]),
            pauthors=chance.choice([None, [], MEMBER_IDS[:1], MEMBER_IDS[2:4], MEMBER_IDS[7:10]]),
        )
        for number in range(60)
    ]
