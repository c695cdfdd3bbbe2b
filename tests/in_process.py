"""Services run by their own `main` in the process of the tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio


@asynccontextmanager
async def running(main: Coroutine[Any, Any, None], address: str, channel: grpc.aio.Channel) -> AsyncIterator[None]:
    """Runs a service for the length of the block, which begins once `channel` leads to its `address`; closes both."""
    task = asyncio.create_task(main)
    try:
        async with asyncio.timeout(20):
            # A channel that finds nobody there lets a tenth of a second pass before it looks again.
            while not await _listening(address):
                if task.done():
                    task.result()
                await asyncio.sleep(0.002)
            await channel.raw.channel_ready()  # type: ignore[attr-defined]
        yield
    finally:
        await channel.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True
