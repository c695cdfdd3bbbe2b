"""Tasks end although something in them takes a cancellation for its own."""

from __future__ import annotations

import asyncio

from fastcms_common.cancelling import end


async def test_a_task_that_loses_its_first_cancellation_is_ended_all_the_same():
    begun = asyncio.Event()
    lost = 0

    async def loses_one() -> None:
        nonlocal lost
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(loses_one())
    await begun.wait()
    async with asyncio.timeout(5):
        await end([task])
    assert lost == 1
    assert task.cancelled()


async def test_errors_of_what_is_ended_stay_with_it():
    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await end([task])
    assert isinstance(task.exception(), ValueError)
    await end([])
