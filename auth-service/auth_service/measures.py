"""How many people are signed in, and how many mails wait."""

from __future__ import annotations

from prometheus_client import Gauge
from redis.asyncio import Redis

from auth_service.store import AuthStore
from fastcms_common import redis_keys
from fastcms_common.measures import Measure, set_all

_sessions = Gauge("auth_sessions", "Sessions that are alive.")
_mails = Gauge("auth_pending_mails", "Mails that have not been handed over yet.")

# Keys that Redis looks at in one go while sessions are counted: it does nothing else meanwhile.
_AT_ONCE = 500


def session_measure(redis: Redis) -> Measure:
    """Counts the sessions. Redis has no number for it: its keys are walked, a few at a time."""

    async def measure() -> None:
        set_all(float("nan"), _sessions)
        alive = 0
        async for _ in redis.scan_iter(match=redis_keys.session("*"), count=_AT_ONCE):
            alive += 1
        _sessions.set(alive)

    return measure


def mail_measure(store: AuthStore) -> Measure:
    """Counts the mails that wait."""

    async def measure() -> None:
        set_all(float("nan"), _mails)
        _mails.set(await store.pending_mails())

    return measure
