"""Whatever workers, admins and clocks do, in whatever order: what the ledger promises holds."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fastcms_common.errors import Conflict, Stale
from fastcms_common.times import from_text
from scheduler_service.models import Task
from tests.unit.scheduler.ledger import NAME, NOON, Setting, ledger_setting

PERIOD = 60


@dataclass
class World:
    """The ledger and the claims that workers, living or believed dead, hold in their hands."""

    at: Setting
    claims: list[Task] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    triggered: int = 0
    workers: int = 0

    async def do(self, act: str, amount: int) -> None:
        await {
            "claim": self.claim, "end": self.end, "renew": self.renew, "release": self.release,
            "trigger": self.trigger, "wait": self.wait, "step": self.step, "look": self.look,
        }[act](amount)  # fmt: skip

    async def claim(self, _: int) -> None:
        self.workers += 1
        task = await self.at.claimed(f"w{self.workers}")
        if task is not None:
            assert all(task.fence > other.fence for other in self.claims)
            self.claims.append(task)

    async def end(self, which: int) -> None:
        if self.claims:
            claim = self.claims[which % len(self.claims)]
            held = await self._held(claim)
            try:
                run = await self.at.done(claim)
            except Stale:
                assert not held
            else:
                assert held or run.id in self.ended
                if run.id not in self.ended:
                    self.ended.append(run.id)

    async def renew(self, which: int) -> None:
        if self.claims:
            claim = self.claims[which % len(self.claims)]
            held = await self._held(claim)
            try:
                await self.at.ledger.renew(NAME, claim.active.id if claim.active else "", claim.fence)
            except Stale:
                assert not held
            else:
                assert held

    async def release(self, which: int) -> None:
        if self.claims:
            claim = self.claims[which % len(self.claims)]
            held = await self._held(claim)
            try:
                await self.at.ledger.release(NAME, claim.active.id if claim.active else "", claim.fence)
            except Stale:
                assert not held
            else:
                assert held

    async def trigger(self, _: int) -> None:
        busy = (await self.at.task()).active is not None
        try:
            await self.at.ledger.trigger(NAME, "someone")
        except Conflict:
            assert busy
        else:
            assert not busy
            self.triggered += 1

    async def wait(self, seconds: int) -> None:
        await self.at.ledger.look()
        self.at.wait(seconds)

    async def step(self, seconds: int) -> None:
        self.at.step(40 * (seconds - 100))

    async def look(self, _: int) -> None:
        await self.at.ledger.look()

    async def _held(self, claim: Task) -> bool:
        now = await self.at.task()
        active = now.active
        return (
            active is not None
            and claim.active is not None
            and active.claimed
            and active.id == claim.active.id
            and now.fence == claim.fence
        )


acts = st.sampled_from(["claim", "claim", "end", "end", "renew", "release", "trigger", "wait", "wait", "look"])
history = st.lists(st.tuples(acts, st.integers(0, 200)), max_size=40)
with_steps = st.lists(st.tuples(acts | st.just("step"), st.integers(0, 200)), max_size=40)


async def lived(acts_done: list[tuple[str, int]]) -> tuple[World, list[tuple[str, str, int]]]:
    """The world after all that, and its history: trigger, due and missed of each run, the oldest first."""
    with tempfile.TemporaryDirectory() as folder:
        async with ledger_setting(Path(folder), f"{PERIOD}s", max_attempts=3) as at:
            world = World(at)
            for act, amount in acts_done:
                await world.do(act, amount)
            await at.ledger.look()
            return world, [(run.trigger, run.due, run.missed) for run in await at.runs()]


@settings(max_examples=60, deadline=None)
@given(history)
def test_every_due_time_is_dealt_with_once_and_in_order(acts_done: list[tuple[str, int]]):
    _, runs = asyncio.run(lived(acts_done))
    covered = [
        from_text(due).timestamp() - PERIOD * back
        for trigger, due, missed in runs
        for back in range(missed, -1, -1)
        if trigger == "schedule"
    ]
    first = from_text(NOON).timestamp() + PERIOD
    assert covered == [first + PERIOD * number for number in range(len(covered))]


@settings(max_examples=60, deadline=None)
@given(with_steps)
def test_no_run_is_doubled_or_lost_whatever_the_clock_does(acts_done: list[tuple[str, int]]):
    world, runs = asyncio.run(lived(acts_done))
    due = [due for _, due, _ in runs]
    assert len(due) == len(set(due))
    assert sum(trigger == "manual" for trigger, _, _ in runs) in (world.triggered, world.triggered - 1)
