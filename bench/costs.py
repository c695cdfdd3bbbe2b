"""`make costs`: a read by id, an insert and a page by cursor, on 1,000 records and on 1,000,000, on both engines.

Both collections lie side by side in one process and are asked in turn, so that what else the machine does hits both. It
is the service's own code from the rules to the JSON, without the network, which would hide what differs. `--help` tells
the rest.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import orjson
import uvloop

ROOT = Path(__file__).parents[1]
# `bench`, and from `tests` what starts a MongoDB server.
sys.path.insert(0, str(ROOT))

from bench import report  # noqa: E402
from bench.progress import say  # noqa: E402
from bench.records import records  # noqa: E402
from collections_service.answers import Shown  # noqa: E402
from collections_service.catalog import Catalog, Snapshot  # noqa: E402
from collections_service.events import CollectionEvents  # noqa: E402
from collections_service.journal import Journal  # noqa: E402
from collections_service.lists import Listing, Lists  # noqa: E402
from collections_service.models import RULES, Collection, FieldDefinition, IndexDefinition  # noqa: E402
from collections_service.paging import cursor_of, order_of  # noqa: E402
from collections_service.policy import Session  # noqa: E402
from collections_service.records import Records  # noqa: E402
from collections_service.relations import Relations, new_revision  # noqa: E402
from collections_service.rendering import to_json  # noqa: E402
from collections_service.store import CollectionStore  # noqa: E402
from fastcms_common import times  # noqa: E402
from fastcms_common.ids import new_id  # noqa: E402
from fastcms_common.redis_connection import connect  # noqa: E402
from fastcms_common.storage import In, open_store, position  # noqa: E402
from tests.mongo_server import MONGODB, start_server  # noqa: E402

RESULTS = ROOT / "bench" / "RESULTS.md"
FEW, MANY = 1_000, 1_000_000
# A stand-in for MongoDB that sorts without its indexes is asked for less: each of its pages reads everything.
MOST_ON_A_STAND_IN = 10_000
ROUNDS_ON_A_STAND_IN = 3
STAND_IN = """It reads every document for whatever it is asked, as its own `explain` says, indexes or not: these are
its figures, and not those of the queries. With `MONGODB_URL` set a real server is asked, with all of the records."""
AIM = 1.5
PER_PAGE = 30
# How often each thing is asked in one round.
ASKED = {"read by id": 200, "insert": 25, "page by views": 25, "page by -created": 25}
ASKED_OF_A_STAND_IN = {"read by id": 200, "insert": 25, "page by views": 1, "page by -created": 1}
SEEDED_TOGETHER = 5_000


@dataclass(frozen=True)
class Plan:
    """How many records in the larger collection, how many rounds, and how often each thing is asked in one."""

    most: int
    rounds: int
    asked: Mapping[str, int]


@dataclass
class Filled:
    """A collection with its records, and what was measured on it: milliseconds, by kind of request."""

    collection: Collection
    store: CollectionStore
    ids: list[str]
    records: Records
    lists: Lists
    taken: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in ASKED})
    inserted: list[str] = field(default_factory=list)

    def session(self, method: str) -> Session:
        """A request of somebody who is not signed in: the rules are open to all."""
        return Session(self.store, Snapshot([self.collection], {}), method, {}, None)

    async def read(self) -> None:
        answer = await self.records.get(self.collection, self.session("GET"), random.choice(self.ids), Shown())
        to_json(answer.body)

    async def insert(self) -> None:
        body = orjson.dumps({"data": next(records(1)) | {"views": random.randrange(100_000)}})
        answer = await self.records.create(self.collection, self.session("POST"), body, Shown())
        self.inserted.append(answer.body["id"])
        to_json(answer.body)

    async def page(self, sort: str, cursor: str) -> None:
        asked = Listing(per_page=PER_PAGE, sort=sort, cursor=cursor, skip_total=True)
        answer = await self.lists.page(self.collection, self.session("GET"), asked, Shown())
        to_json(answer.body)

    async def anywhere(self, sort: str) -> str:
        """A cursor at some record, as likely the last as the first."""
        order = order_of(self.collection, sort, Snapshot([self.collection], {}), sees_all=False)
        doc = await self.store.get(self.collection, random.choice(self.ids))
        assert doc is not None
        return cursor_of(position(doc, [(key.path, key.direction) for key in order]), self.collection, order)

    async def round(self, asked: Mapping[str, int], *, kept: bool) -> None:
        """Asks everything so many times, and takes back what was inserted."""
        for kind, count in asked.items():
            for _ in range(count):
                ask = await self._request(kind)
                began = time.perf_counter()
                await ask()
                if kept:
                    self.taken[kind].append((time.perf_counter() - began) * 1000)
        await self.store.delete_many(self.collection, In("id", self.inserted))
        self.inserted.clear()

    async def _request(self, kind: str) -> Callable[[], Awaitable[None]]:
        if not kind.startswith("page by "):
            return self.read if kind == "read by id" else self.insert
        sort = kind.removeprefix("page by ")
        cursor = await self.anywhere(sort)
        return lambda: self.page(sort, cursor)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = _parse(arguments)
    text = uvloop.run(_measured(asked))
    print(text)
    if asked.write:
        results = RESULTS.read_text()
        rest = results.replace(report.section(results, report.COSTS), "")
        RESULTS.write_text(f"{rest.rstrip()}\n\n{text}\n")
        say(f"written to {RESULTS.relative_to(ROOT)}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/costs.py", description="Measure costs by the number of records.")
    parser.add_argument("--most", type=int, default=MANY, help="records in the larger collection")
    parser.add_argument("--rounds", type=int, default=12, help="of all requests on both collections")
    parser.add_argument("--engines", default="sqlite,mongodb", help="with a comma between")
    parser.add_argument("--write", action="store_true", help="put the figures into bench/RESULTS.md")
    return parser.parse_args(arguments)


async def _measured(asked: argparse.Namespace) -> str:
    parts = [
        f"{report.COSTS}\n\nMedian milliseconds of one request after the other, {PER_PAGE} records on a page, cursors "
        f"anywhere in the order;\n{asked.rounds} rounds of both collections in turn, in one process, without the "
        f"network. The aim: at most {AIM} times as\nmuch. `make costs` prints it."
    ]
    for engine in asked.engines.split(","):
        measure = _on_sqlite if engine == "sqlite" else _on_mongodb
        with tempfile.TemporaryDirectory(prefix="fastcms-costs-") as home:
            parts.append(await measure(Path(home), asked.most, asked.rounds))
    return "\n\n".join(parts)


async def _on_sqlite(home: Path, most: int, rounds: int) -> str:
    return await _compared("SQLite", f"sqlite://{home}", Plan(most, rounds, ASKED))


async def _on_mongodb(home: Path, most: int, rounds: int) -> str:
    server = start_server(home)
    try:
        url = urlsplit(server.url)._replace(path=f"/{server.new_base()}").geturl()
        if server.kind is MONGODB:
            return await _compared("MongoDB", url, Plan(most, rounds, ASKED))
        plan = Plan(min(most, MOST_ON_A_STAND_IN), min(rounds, ROUNDS_ON_A_STAND_IN), ASKED_OF_A_STAND_IN)
        return await _compared(f"{server.kind.name}, a stand-in for MongoDB", url, plan) + f"\n\n{STAND_IN}"
    finally:
        server.stop()


async def _compared(engine: str, url: str, plan: Plan) -> str:
    async with _opened(url) as store:
        small = await _filled(store, f"{engine}, few", FEW)
        large = await _filled(store, f"{engine}, many", plan.most)
        for number in range(plan.rounds + 1):
            for one in (small, large):
                # The first round is for the caches.
                await one.round(plan.asked, kept=number > 0)
            say(f"{engine}: round {number} of {plan.rounds}")
    rows = []
    for kind in plan.asked:
        few, many = median(small.taken[kind]), median(large.taken[kind])
        rows.append([kind, f"{few:.2f}", f"{many:.2f}", f"{many / few:.2f}"])
    return f"### {engine}\n\n" + report.table(["ms", f"{FEW:,}", f"{plan.most:,}", "ratio"], rows)


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[CollectionStore]:
    store = CollectionStore(await open_store(url, "costs"))
    try:
        await store.prepare()
        yield store
    finally:
        await store.close()


async def _filled(store: CollectionStore, name: str, count: int) -> Filled:
    """A collection of so many records, put there through the store."""
    moment = times.now_text()
    types = {"title": "text", "body": "editor", "category": "text", "views": "number", "featured": "bool"}
    fields = tuple(FieldDefinition("f" + name, name, type) for name, type in types.items())  # type: ignore[arg-type]
    collection = Collection(
        id=new_id(),
        name=re.sub("[^a-z]+", "_", name.lower()),
        type="base",
        fields=fields,
        options={},
        rules={rule: None if rule == "manage" else "" for rule in RULES},
        indexes=(IndexDefinition("by_views", ("views",)), IndexDefinition("by_category", ("category", "views"))),
        created=moment,
        updated=moment,
    )
    await store.ensure_table(collection)
    ids: list[str] = []
    docs = []
    for record in records(count):
        moment = times.now_text()
        stamps = {"id": new_id(), "created": moment, "updated": moment, "rev": new_revision()}
        docs.append(stamps | {f"f{name}": value for name, value in record.items()})
        if len(docs) == SEEDED_TOGETHER or len(ids) + len(docs) == count:
            await store.insert_many(collection, docs)
            ids.extend(doc["id"] for doc in docs)
            docs = []
            if len(ids) % (10 * SEEDED_TOGETHER) == 0 or len(ids) == count:
                say(f"{name}: {len(ids):,} of {count:,} records")
    redis = connect("redis://127.0.0.1:1")
    events = CollectionEvents(redis)
    relations = Relations(store, events)
    catalog = Catalog(store, redis)
    opened = Records(store, catalog, relations, events, Journal(store, catalog, relations, events))
    return Filled(collection, store, ids, opened, Lists(store))


if __name__ == "__main__":
    main()
