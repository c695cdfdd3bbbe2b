"""Many at once: exactly one wins."""

from __future__ import annotations

import asyncio

from fastcms_common.errors import Conflict
from tests.contract.scheduler.system import TOKENS, System
from tests.mongo_server import ONE_WINNER
from tests.storages import Storage, needs
from tests.unit.scheduler.ledger import NAME, ledger_setting


async def test_of_50_parallel_triggers_one_runs_and_49_are_told_that_it_is_running(system: System):
    await system.start_service()
    system.start_worker("worker")
    gate = system.owners.tokens.hold()
    answers = await asyncio.gather(*(system.trigger(TOKENS) for _ in range(50)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Conflict) and answer.reason == "TASK_RUNNING"]
    (accepted,) = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(refused) == 49
    gate.set()
    (run,) = await system.finished(TOKENS)
    assert run.id == accepted.run_id
    assert len(system.owners.tokens.effects) == 1


@needs(ONE_WINNER)
async def test_of_50_parallel_claims_at_three_replicas_one_gets_the_run(storage: Storage):
    async with ledger_setting(storage.url) as at:
        replicas = [at.replica() for _ in range(3)]
        for round_ in range(1, 4):
            at.wait(60)
            claims = [replicas[number % 3].claim(NAME, f"w{round_}-{number}") for number in range(50)]
            won = [task for task in await asyncio.gather(*claims) if task is not None]
            assert len(won) == 1
            await at.done(won[0])


@needs(ONE_WINNER)
async def test_a_due_time_and_a_trigger_at_once_give_one_run_after_the_other(storage: Storage):
    async with ledger_setting(storage.url) as at:
        at.wait(60)
        _, claimed = await asyncio.gather(at.ledger.trigger(NAME, "someone"), at.claimed("w"), return_exceptions=True)
        assert not isinstance(claimed, BaseException)
        triggers = []
        while claimed is not None:
            triggers.append((await at.done(claimed)).trigger)
            claimed = await at.claimed("w")
        assert triggers.count("schedule") == 1
        assert len(triggers) <= 2


@needs(ONE_WINNER)
async def test_a_worker_that_comes_back_while_it_is_replaced_changes_nothing(storage: Storage):
    async with ledger_setting(storage.url) as at:
        for _ in range(10):
            at.wait(60)
            lost = await at.claimed("lost")
            assert lost is not None
            await at.ledger.look()
            at.wait(31)
            ended, taken = await asyncio.gather(
                at.done(lost, result="lost"), at.claimed("taker"), return_exceptions=True
            )
            assert not isinstance(taken, BaseException)
            if taken is not None and taken.active is not None and taken.active.id == lost.active.id:  # type: ignore[union-attr]
                assert isinstance(ended, BaseException)
                await at.done(taken, result="taker")
            else:
                assert not isinstance(ended, BaseException)
                if taken is not None:
                    await at.done(taken)
        runs = await at.runs()
        assert len({run.due for run in runs}) == len(runs)
