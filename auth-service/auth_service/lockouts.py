"""Locking accounts against guessing: counted in Redis, before anything is hashed.

A guess takes one of the `account_lockout_attempts` places of its account before its password is looked at, and gives it
back when it proves right. Failures and guesses under way together never exceed the places, so of any number of
parallel guesses no more are ever checked. A guess that finds all places taken by guesses still under way waits for
them. An e-mail without an account is counted in just the same way: a lock tells nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from prometheus_client import Counter
from redis.asyncio import Redis

from auth_service.auth_settings import AuthSettings, LiveSettings
from fastcms_common import redis_keys
from fastcms_common.errors import Denied, Unavailable
from fastcms_common.ids import new_id
from fastcms_common.redis_connection import redis_errors

T = TypeVar("T")

# Milliseconds after which a guess whose process died counts as a failure.
_LEASE_MS = 15_000
# Failures are forgotten after this long without another (milliseconds), or after the lock if that is longer.
_MEMORY_MS = 24 * 3600 * 1000
# Seconds that a guess waits for a place, and about how long it waits between two looks.
_PATIENCE = 6.0
_LOOK_AGAIN = 0.03

# Hash `lockout:…`: failed (number), locked_until (ms), and one field for each guess under way with the end of its lease
# (ms). The clock is Redis's own, so that replicas need not agree.
_PRELUDE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local failed, locked_until, running = 0, 0, 0
local cells = redis.call('HGETALL', KEYS[1])
for i = 1, #cells, 2 do
  local name, value = cells[i], tonumber(cells[i + 1])
  if name == 'failed' then failed = failed + value
  elseif name == 'locked_until' then locked_until = value
  elseif value <= now then
    failed = failed + 1
    redis.call('HDEL', KEYS[1], name)
    redis.call('HINCRBY', KEYS[1], 'failed', 1)
  else running = running + 1 end
end
if locked_until > 0 and locked_until <= now then
  failed, locked_until = 0, 0
  redis.call('HDEL', KEYS[1], 'failed', 'locked_until')
end
"""

# ARGV: places, lock (ms), guess, lease (ms), memory (ms)
_BEGIN = (
    _PRELUDE
    + """
if locked_until > now then return {'locked', locked_until - now} end
if failed >= tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'locked_until', now + ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {'locked', tonumber(ARGV[2])}
end
if redis.call('HEXISTS', KEYS[1], ARGV[3]) == 0 then
  if failed + running >= tonumber(ARGV[1]) then return {'busy', 0} end
  redis.call('HSET', KEYS[1], ARGV[3], now + ARGV[4])
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {'go', failed}
"""
)

# ARGV: places, lock (ms), guess, memory (ms). Answers how many failed, and the lock in ms where this one brought it.
_FAIL = (
    _PRELUDE
    + """
if redis.call('HDEL', KEYS[1], ARGV[3]) == 0 then return {failed, 0} end
failed = redis.call('HINCRBY', KEYS[1], 'failed', 1)
if failed >= tonumber(ARGV[1]) and locked_until == 0 then
  redis.call('HSET', KEYS[1], 'locked_until', now + ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {failed, tonumber(ARGV[2])}
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {failed, 0}
"""
)

# ARGV: nothing.
_LOOK = _PRELUDE + "return {failed, locked_until, locked_until > now and locked_until - now or 0}"


locks_total = Counter("auth_lockouts", "Accounts locked for too many wrong guesses.")


@dataclass(frozen=True, slots=True)
class LockState:
    """Where an account stands."""

    failed: int = 0
    locked_until: datetime | None = None
    remaining_seconds: int = 0


class Attempt:
    """A guess under way. Say `failed` or `succeeded`; a guess that says neither gives its place back."""

    def __init__(self, lockouts: Lockouts, key: str, settings: AuthSettings) -> None:
        self._lockouts = lockouts
        self._key = key
        self._settings = settings
        self.id = f"guess:{new_id()}"
        self.over = False

    async def failed(self) -> int | None:
        """Counts the failure. Seconds of the lock where this one brought it, else None."""
        self.over = True
        if not self._settings.account_lockout_enabled:
            return None
        return await self._lockouts.count_failure(self._key, self.id, self._settings)

    async def succeeded(self) -> None:
        """Forgets all failures and any lock, those too of before locking was switched off."""
        self.over = True
        with redis_errors():
            await self._lockouts.redis.hdel(self._key, self.id, "failed", "locked_until")


class Lockouts:
    """The counters of all accounts."""

    def __init__(self, redis: Redis, settings: LiveSettings) -> None:
        self.redis = redis
        self._settings = settings
        self._begin = redis.register_script(_BEGIN)
        self._fail = redis.register_script(_FAIL)
        self._look = redis.register_script(_LOOK)
        self._gates: dict[str, tuple[asyncio.Semaphore, int]] = {}
        # The event loop does not keep a task alive by itself.
        self._under_way: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def attempt(self, realm: str, email_key: str) -> AsyncIterator[Attempt]:
        """A place for one guess at the account, held for the block.

        Raises Denied (ACCOUNT_LOCKED, with retry_after) where it is locked, Unavailable where no place gets free.
        """
        settings, key = self._settings.current, _key(realm, email_key)
        if not settings.account_lockout_enabled:
            yield Attempt(self, key, settings)
            return
        async with self._gate(key, settings.account_lockout_attempts):
            attempt = Attempt(self, key, settings)
            await self._take_place(key, attempt.id, settings)
            try:
                yield attempt
            except asyncio.CancelledError:
                # This process ends before the verdict: the lease runs out as a failure.
                raise
            except BaseException:
                await self._give_back(key, attempt)
                raise
            await self._give_back(key, attempt)

    async def to_the_end(self, guess: Coroutine[Any, Any, T]) -> T:
        """What `guess` gives, which goes on to its verdict even if whoever has made it hangs up: nobody escapes the
        count by that, and a right password that nobody waited for is no failure."""
        task = asyncio.create_task(guess)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            # Where nobody waits any more nobody else asks for it.
            task.exception()

    async def state(self, realm: str, email_key: str) -> LockState:
        """Failures and lock of the account."""
        with redis_errors():
            failed, until, remaining = await self._look(keys=[_key(realm, email_key)])
        if not until:
            return LockState(failed=int(failed))
        locked_until = datetime.fromtimestamp(int(until) / 1000, UTC)
        return LockState(int(failed), locked_until, _seconds(remaining))

    async def clear(self, realm: str, email_key: str) -> None:
        """Opens the account and forgets its failures."""
        with redis_errors():
            await self.redis.delete(_key(realm, email_key))

    async def count_failure(self, key: str, attempt_id: str, settings: AuthSettings) -> int | None:
        """Turns a place into a failure. Seconds of the lock where that brought one."""
        lock_ms = settings.account_lockout_duration * 1000
        with redis_errors():
            _, locked = await self._fail(
                keys=[key],
                args=[settings.account_lockout_attempts, lock_ms, attempt_id, max(_MEMORY_MS, lock_ms)],
            )
        if not locked:
            return None
        locks_total.inc()
        return _seconds(locked)

    async def _take_place(self, key: str, attempt_id: str, settings: AuthSettings) -> None:
        lock_ms = settings.account_lockout_duration * 1000
        arguments: list[str | int] = [
            settings.account_lockout_attempts,
            lock_ms,
            attempt_id,
            _LEASE_MS,
            max(_MEMORY_MS, lock_ms),
        ]
        give_up = asyncio.get_running_loop().time() + _PATIENCE
        while True:
            with redis_errors():
                verdict, number = await self._begin(keys=[key], args=arguments)
            if verdict == b"go":
                return
            if verdict == b"locked":
                raise locked(_seconds(number))
            if asyncio.get_running_loop().time() > give_up:
                raise Unavailable("Too many sign-ins to this account at once.", reason="SIGN_IN_BUSY")
            await asyncio.sleep(_LOOK_AGAIN * random.uniform(0.5, 1.5))  # noqa: S311

    async def _give_back(self, key: str, attempt: Attempt) -> None:
        if not attempt.over:
            with redis_errors():
                await self.redis.hdel(key, attempt.id)

    @asynccontextmanager
    async def _gate(self, key: str, places: int) -> AsyncIterator[None]:
        # The guesses of this process queue here in order, so that only as many as have a chance ask Redis for a place.
        gate, users = self._gates.get(key, (asyncio.Semaphore(places), 0))
        self._gates[key] = (gate, users + 1)
        try:
            async with gate:
                yield
        finally:
            gate, users = self._gates[key]
            if users == 1:
                del self._gates[key]
            else:
                self._gates[key] = (gate, users - 1)


def locked(seconds: int) -> Denied:
    """The seed's answer to a locked account."""
    return Denied(f"Account locked. Try again in {seconds} seconds.", reason="ACCOUNT_LOCKED", retry_after=seconds)


def _key(realm: str, email_key: str) -> str:
    # Hashed: callers choose what they send as an e-mail, and how long it is.
    return redis_keys.lockout(realm, hashlib.sha256(email_key.encode()).hexdigest())


def _seconds(milliseconds: int) -> int:
    return -(-int(milliseconds) // 1000)
