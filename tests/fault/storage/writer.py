"""Writes documents as fast as it can, and says each id when it has been acknowledged. Made to be killed."""

from __future__ import annotations

import asyncio
import itertools
import sys
import uuid

from fastcms_common.storage import Table, open_store


async def main(url: str) -> None:
    """Forty writers side by side, so that commits are shared."""
    store = await open_store(url, "test")
    await store.ensure(Table("things"))

    async def write() -> None:
        for number in itertools.count():
            id = f"{uuid.uuid4()}-{number}"
            await store.insert("things", {"id": id, "text": "x" * 500})
            print(id, flush=True)  # noqa: T201 - this is how the test hears of it

    await asyncio.gather(*(write() for _ in range(40)))


asyncio.run(main(sys.argv[1]))
