"""One-time codes: six digits that sign in once, within ten minutes. One live code per account; five wrong tries
kill it.

They live in Redis, hashed under a key of ours, and are tried by one script: as fast for an account that does not exist,
and of any number of uses at once one wins. Asking for ever new codes buys few more guesses: wrong tries are counted
over all codes of an hour.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from redis.asyncio import Redis

from fastcms_common import redis_keys
from fastcms_common.redis_connection import redis_errors

DIGITS = 6
LIFETIME = 600
TRIES = 5
# Wrong tries of an hour after which no code is good for the rest of it: 20 in a million.
_HOURLY_TRIES = 20

# KEYS: code, tries of the hour. ARGV: hash of what was tried, tries, tries of the hour, 1 to use the code up; further
# hashes of what was tried, under keys that are good still.
_TRY = """
local kept = redis.call('HGET', KEYS[1], 'hash')
local hour = tonumber(redis.call('GET', KEYS[2]) or '0')
local good = kept and kept == ARGV[1]
for i = 5, #ARGV do good = good or kept == ARGV[i] end
if good and hour < tonumber(ARGV[3]) then
  if ARGV[4] == '1' then redis.call('DEL', KEYS[1]) end
  return 'good'
end
redis.call('INCR', KEYS[2])
if hour == 0 then redis.call('EXPIRE', KEYS[2], 3600) end
if kept and redis.call('HINCRBY', KEYS[1], 'tries', 1) >= tonumber(ARGV[2]) then redis.call('DEL', KEYS[1]) end
return 'wrong'
"""


class OneTimeCodes:
    """The live codes of all accounts."""

    def __init__(self, redis: Redis, *keys: bytes) -> None:
        self._redis = redis
        self._keys = keys
        self._try = redis.register_script(_TRY)

    async def issue(self, realm: str, email_key: str) -> str:
        """A new code; the one before is void."""
        code = f"{secrets.randbelow(10**DIGITS):0{DIGITS}d}"
        name = redis_keys.one_time_code(realm, _account(email_key))
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.delete(name)
                pipe.hset(name, mapping={"hash": self._hashes(realm, email_key, code)[0], "tries": 0})
                pipe.expire(name, LIFETIME)
                await pipe.execute()
        return code

    async def check(self, realm: str, email_key: str, code: str, *, use: bool) -> bool:
        """Whether `code` is the live one. A right one is used up where `use` says so, a wrong one counts as a try."""
        account = _account(email_key)
        keys = [redis_keys.one_time_code(realm, account), redis_keys.one_time_code_tries(realm, account)]
        first, *others = self._hashes(realm, email_key, code.strip())
        arguments: list[str | int] = [first, TRIES, _HOURLY_TRIES, int(use), *others]
        with redis_errors():
            verdict: bytes = await self._try(keys=keys, args=arguments)
        return verdict == b"good"

    async def revoke(self, realm: str, email_key: str) -> None:
        """Makes the live code void."""
        with redis_errors():
            await self._redis.delete(redis_keys.one_time_code(realm, _account(email_key)))

    def _hashes(self, realm: str, email_key: str, code: str) -> list[str]:
        # A plain hash of six digits is undone in a second; under a key that is not in Redis it is not.
        text = f"{realm}|{email_key}|{code}".encode()
        return [hmac.new(key, text, hashlib.sha256).hexdigest() for key in self._keys]


def _account(email_key: str) -> str:
    return hashlib.sha256(email_key.encode()).hexdigest()
