"""Nobody learns from an answer, or from how long it takes, who has an account."""

from __future__ import annotations

import re
import statistics
import time
from pathlib import Path

import orjson

from fastcms.auth.v1 import identities_pb2
from fastcms_common.errors import DomainError
from tests.contract.auth.server import PASSWORD, auth_server

TRIES = 200
# A sign-in that skipped the hash would take a tenth. What the machine does beside this test moves a median less.
TOLERANCE = 1.4


async def test_unknown_wrong_and_disabled_are_told_alike_and_take_alike(tmp_path: Path, redis_url: str):
    async with auth_server(tmp_path, redis_url, account_lockout_enabled=False) as server:
        root = await server.register()
        for name in ("wrong", "disabled"):
            await server.register(f"{name}@example.com", bearer=root.access_token, role="user")
        gone = orjson.loads((await server.login("disabled@example.com")).user)["id"]
        disable = identities_pb2.DisableIdentityRequest(id=gone)
        await server.call(server.identities.DisableIdentity, disable, root.access_token)
        cases = {
            "unknown": ("unknown@example.com", PASSWORD),
            "wrong": ("wrong@example.com", "not the password"),
            "disabled": ("disabled@example.com", PASSWORD),
        }
        times: dict[str, list[float]] = {name: [] for name in cases}
        told = set()
        # In turn, so that whatever else the machine does falls on all alike.
        for _ in range(TRIES):
            for name, (email, password) in cases.items():
                began = time.perf_counter()
                try:
                    await server.login(email, password)
                except DomainError as refusal:
                    told.add((refusal.code, refusal.reason, refusal.detail, refusal.retry_after, refusal.fields))
                times[name].append(time.perf_counter() - began)
        assert len(told) == 1
        medians = {name: statistics.median(taken) for name, taken in times.items()}
        assert max(medians.values()) < TOLERANCE * min(medians.values()), medians


async def test_a_lock_takes_and_tells_the_same_for_accounts_that_do_not_exist(tmp_path: Path, redis_url: str):
    async with auth_server(tmp_path, redis_url, account_lockout_attempts=1) as server:
        await server.register("known@example.com")
        times: dict[str, list[float]] = {"known": [], "unknown": []}
        told = set()
        for _ in range(TRIES):
            for name, taken in times.items():
                began = time.perf_counter()
                try:
                    await server.login(f"{name}@example.com", "wrong")
                except DomainError as refusal:
                    if refusal.reason == "ACCOUNT_LOCKED":
                        taken.append(time.perf_counter() - began)
                        told.add((refusal.code, re.sub(r"\d+", "N", refusal.detail), refusal.fields))
        assert len(told) == 1
        medians = [statistics.median(taken) for taken in times.values()]
        assert max(medians) < TOLERANCE * min(medians), medians
