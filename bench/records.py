"""The records that every system is filled with: the same for all, and the same on every run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

CATEGORIES = 10
# Read by id and listed: without an index, and with one on (category, views).
PLAIN = "plain_posts"
INDEXED = "indexed_posts"
# Created into; nothing reads it, so that the lists keep their length.
WRITTEN = "written_posts"
COLLECTIONS = (PLAIN, INDEXED, WRITTEN)

# Who signs in, in turn: many, because an account takes only a few guesses at once, and counts one that hangs up.
ACCOUNTS = tuple(f"person{number}@example.com" for number in range(100))

TEXTS = ("title", "body", "category")
WORDS = (
    "autumn",
    "bridge",
    "candle",
    "distance",
    "ember",
    "forest",
    "garden",
    "harbour",
    "island",
    "journey",
    "kettle",
)


def records(count: int) -> Iterator[dict[str, Any]]:
    """About 250 bytes each: title, body, one of ten categories, views, whether featured."""
    chance = random.Random(1)
    for number in range(count):
        yield {
            "title": f"Post {number} about the {chance.choice(WORDS)}",
            "body": " ".join(chance.choices(WORDS, k=24)),
            "category": f"c{number % CATEGORIES}",
            "views": chance.randrange(100_000),
            "featured": chance.random() < 0.1,
        }


def batches(count: int, size: int) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for record in records(count):
        batch.append(record)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
