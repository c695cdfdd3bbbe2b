"""Sessions, in Redis: opened by a sign-in, carried on by refresh tokens, ended by anything.

This module alone makes and ends `session:{id}`; that the key exists is what every process takes as "alive". An end
deletes the key and announces it in one step, so no process believes in a session for longer than the message takes.
(`fastcms_common.sessions` keeps `last_used` of a live one up to date.)
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import orjson
from redis.asyncio import Redis

from auth_service.models import Identity
from auth_service.refresh_tokens import RefreshToken, RefreshTokens
from fastcms_common import redis_keys, times
from fastcms_common.context import current
from fastcms_common.errors import NotFound
from fastcms_common.ids import new_id
from fastcms_common.redis_connection import redis_errors

# Seconds in which a second use of a refresh token is taken for a lost answer or another tab.
GRACE_SECONDS = 10
# Sessions that one user may have; the oldest make way.
MAX_SESSIONS = 1000
# Entries kept of a session's lineage, and how long they outlive it.
_LINEAGE = 200
_LINEAGE_AFTER = timedelta(days=30)

Outcome = Literal["rotated", "concurrent", "theft", "gone"]

# Hash `session:{id}`: user, realm, created, last_used, user_agent, ip_address, absolute (ms: the end that no refresh
# moves), actor while impersonating, and for refresh tokens: generation, current and previous (hashes), rotated (ms).

# ARGV: generation and hash of the token that was presented, hash of its successor, idle (ms), last_used, grace (ms).
# Behind the channel and the session's id: hashes of what the successor is for replicas that use another key first.
# A generation above the one on record is of ours all the same: Redis has lost its last moments, the client has not.
_ROTATE = """
local cells = redis.call('HMGET', KEYS[1], 'generation', 'current', 'previous', 'rotated', 'absolute')
if not cells[1] then return 'gone' end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local presented, known = tonumber(ARGV[1]), tonumber(cells[1])
if presented == known - 1 and ARGV[2] == cells[3] and now - tonumber(cells[4]) <= tonumber(ARGV[6]) then
  if ARGV[3] == cells[2] then return 'concurrent' end
  for i = 9, #ARGV do
    if ARGV[i] == cells[2] then return 'concurrent ' .. (i - 8) end
  end
end
if presented > known or (presented == known and ARGV[2] == cells[2]) then
  redis.call('HSET', KEYS[1], 'generation', presented + 1, 'current', ARGV[3], 'previous', ARGV[2], 'rotated', now,
    'last_used', ARGV[5])
  redis.call('PEXPIREAT', KEYS[1], math.min(now + ARGV[4], tonumber(cells[5])))
  return 'rotated'
end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[7], ARGV[8])
return 'theft'
"""

# ARGV: channel, session id, the user whose it has to be (empty: anybody's). Answers 1 where a session has ended.
_END = """
local owner = redis.call('HGET', KEYS[1], 'user')
if not owner or (ARGV[3] ~= '' and owner ~= ARGV[3]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A live session. Times are canonical text; `expires` is Unix seconds."""

    id: str
    user_id: str
    realm: str
    created: str
    last_used: str
    user_agent: str | None
    ip_address: str | None
    actor_id: str | None
    expires: float


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """One entry of a session's lineage."""

    kind: str
    time: str
    ip_address: str | None
    user_agent: str | None


class Sessions:
    """The sessions of everyone."""

    def __init__(self, redis: Redis, tokens: RefreshTokens, absolute: timedelta) -> None:
        self._redis = redis
        self._tokens = tokens
        self._absolute = absolute
        self._rotate = redis.register_script(_ROTATE)
        self._end = redis.register_script(_END)

    async def open(self, identity: Identity, idle: timedelta) -> tuple[str, str]:
        """A new session and its first refresh token. It ends when it is not refreshed for `idle`."""
        session_id = new_id()
        token = self._tokens.first(session_id)
        absolute = time.time() + self._absolute.total_seconds()
        cells: dict[str, str | int] = {"generation": 1, "current": token.hash, "previous": "", "rotated": 0}
        await self._write(identity, session_id, cells, min(time.time() + idle.total_seconds(), absolute), absolute)
        return session_id, token.text

    async def open_impersonation(self, target: Identity, actor_id: str, session_id: str, lifetime: int) -> None:
        """A session of `target` in which `actor_id` acts; no refresh token, over after `lifetime` seconds."""
        end = time.time() + lifetime
        await self._write(target, session_id, {"actor": actor_id}, end, end)

    async def get(self, session_id: str) -> Session | None:
        """The session if it is alive."""
        return (await self._read([session_id]))[0]

    async def rotate(self, token: RefreshToken, user_id: str, idle: timedelta) -> tuple[Outcome, str]:
        """Uses a refresh token up; what that was, and the successor's text where there is one.

        Presented again within the grace it gives the same successor; later it is theft, and the session has ended.
        """
        successor, *others = self._tokens.successors(token)
        with redis_errors():
            answer = await self._rotate(
                keys=[redis_keys.session(token.session_id)],
                args=[
                    token.generation,
                    token.hash,
                    successor.hash,
                    int(idle.total_seconds() * 1000),
                    times.now_text(),
                    GRACE_SECONDS * 1000,
                    redis_keys.SESSION_REVOKED,
                    token.session_id,
                    *(other.hash for other in others),
                ],
            )
        outcome: Outcome
        outcome, _, other = answer.decode().partition(" ")
        if other:
            successor = others[int(other) - 1]
        if outcome != "gone":
            await self._note(token.session_id, user_id, outcome)
        return outcome, successor.text

    def parse(self, refresh_token: str) -> RefreshToken:
        """The token that a client has sent. Unauthenticated where it is none of ours."""
        return self._tokens.parse(refresh_token)

    async def of_user(self, user_id: str) -> list[Session]:
        """The user's live sessions, the newest first."""
        with redis_errors():
            members: list[Any] = await self._redis.zrevrange(redis_keys.sessions_of(user_id), 0, -1)
        ids = [one.decode() for one in members]
        found = await self._read(ids)
        gone = [session_id for session_id, session in zip(ids, found, strict=True) if session is None]
        if gone:
            with redis_errors():
                await self._redis.zrem(redis_keys.sessions_of(user_id), *gone)
        return [session for session in found if session is not None]

    async def end(self, session_id: str, user_id: str) -> bool:
        """Ends a session of this user, everywhere at once. False where they have no such session."""
        with redis_errors():
            ended = await self._end(
                keys=[redis_keys.session(session_id)], args=[redis_keys.SESSION_REVOKED, session_id, user_id]
            )
            await self._redis.zrem(redis_keys.sessions_of(user_id), session_id)
        return bool(ended)

    async def end_all(self, user_id: str, keep: str | None = None) -> int:
        """Ends all of the user's sessions, but `keep`; how many."""
        with redis_errors():
            members: list[Any] = await self._redis.zrange(redis_keys.sessions_of(user_id), 0, -1)
        return sum([await self.end(one.decode(), user_id) for one in members if one.decode() != keep])

    async def lineage(self, session_id: str, user_id: str) -> list[SessionEvent] | None:
        """What became of the refresh tokens of this user's session, the newest first; None where they have, and had,
        no such session."""
        with redis_errors():
            entries: list[Any] = await self._redis.lrange(redis_keys.session_events(session_id), 0, -1)
        read = [orjson.loads(entry) for entry in entries]
        if not read:
            session = await self.get(session_id)
            return [] if session is not None and session.user_id == user_id else None
        if read[0][0] != user_id:
            return None
        return [SessionEvent(*entry[1:]) for entry in read]

    async def prune_all(self) -> int:
        """Forgets sessions that have run out; how many."""
        pruned = 0
        with redis_errors():
            async for index in self._redis.scan_iter(match=redis_keys.sessions_of("*"), count=500):
                user_id = index.decode().removeprefix(redis_keys.sessions_of(""))
                known = await self._redis.zcard(index)
                pruned += int(known) - len(await self.of_user(user_id))
        return pruned

    async def _write(
        self, identity: Identity, session_id: str, cells: dict[str, str | int], end: float, absolute: float
    ) -> None:
        context = current()
        now = times.now_text()
        mapping = {
            "user": identity.id,
            "realm": identity.realm,
            "created": now,
            "last_used": now,
            "user_agent": context.user_agent or "",
            "ip_address": context.client_ip or "",
            "absolute": int(absolute * 1000),
        } | cells
        index = redis_keys.sessions_of(identity.id)
        with redis_errors():
            # The index first: a session that is alive can always be found and ended.
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zadd(index, {session_id: time.time()})
                pipe.pexpireat(index, int((time.time() + self._absolute.total_seconds()) * 1000) + 86_400_000)
                pipe.zrange(index, 0, -MAX_SESSIONS - 1)
                *_, surplus = await pipe.execute()
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(redis_keys.session(session_id), mapping=mapping)  # type: ignore[arg-type]
                pipe.pexpireat(redis_keys.session(session_id), int(end * 1000))
                await pipe.execute()
        for oldest in surplus:
            await self.end(oldest.decode(), identity.id)

    async def _read(self, ids: list[str]) -> list[Session | None]:
        if not ids:
            return []
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for session_id in ids:
                    pipe.hgetall(redis_keys.session(session_id))
                    pipe.pttl(redis_keys.session(session_id))
                answers = await pipe.execute()
        return [
            _session(session_id, cells, ttl) if cells and ttl > 0 else None
            for session_id, cells, ttl in zip(ids, answers[::2], answers[1::2], strict=True)
        ]

    async def _note(self, session_id: str, user_id: str, kind: str) -> None:
        context = current()
        key = redis_keys.session_events(session_id)
        entry = orjson.dumps([user_id, kind, times.now_text(), context.client_ip, context.user_agent])
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.lpush(key, entry)
                pipe.ltrim(key, 0, _LINEAGE - 1)
                pipe.expire(key, self._absolute + _LINEAGE_AFTER)
                await pipe.execute()


def no_session() -> NotFound:
    """The answer for a session that is over, somebody else's, or none."""
    return NotFound("There is no such session.", reason="SESSION_NOT_FOUND")


def _session(session_id: str, cells: dict[bytes, bytes], ttl: int) -> Session:
    text = {name.decode(): value.decode() for name, value in cells.items()}
    return Session(
        id=session_id,
        user_id=text["user"],
        realm=text["realm"],
        created=text["created"],
        last_used=text["last_used"],
        user_agent=text["user_agent"] or None,
        ip_address=text["ip_address"] or None,
        actor_id=text.get("actor"),
        expires=time.time() + ttl / 1000,
    )
