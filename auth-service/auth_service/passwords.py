"""Password hashes: argon2id in a bounded pool of threads.

m = 19 MiB, t = 2, p = 1 is OWASP's second configuration (Password Storage Cheat Sheet): about 17 ms a hash. As many
threads as cores; what does not fit in the queue is refused, so that a flood of sign-ins never stalls the event loop.
"""

from __future__ import annotations

import asyncio
import os
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import argon2
from prometheus_client import Counter

from fastcms_common.errors import Unavailable

MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1

computed = Counter("auth_password_hashes", "Password hashes computed, by purpose.", ["purpose"])

T = TypeVar("T")


def prepare(password: str) -> str:
    """The form in which a password is counted, judged and hashed: NFKC (NIST SP 800-63B, 3.1.1.2), never cut."""
    return unicodedata.normalize("NFKC", password)


class Passwords:
    """Makes and checks password hashes. One per process."""

    def __init__(self, threads: int = 0, queue: int = 128) -> None:
        self._threads = threads or os.cpu_count() or 1
        self._limit = self._threads + queue
        self._pending = 0
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="argon2")
        self._argon2 = argon2.PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        # Stands in where there is no account or no password, so that finding that out takes the same time.
        self._nobody = _hash_of_no_password()

    async def hash(self, password: str) -> str:
        """A new hash in PHC form. Unavailable where too many wait."""
        return await self._run("hash", lambda: self._argon2.hash(prepare(password)))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one behind `stored`; always false, after the same work, where `stored` is None."""
        against = stored or self._nobody
        return await self._run("verify", lambda: self._matches(against, password)) and stored is not None

    async def verify_any(self, stored: list[str], password: str) -> bool:
        """Whether `password` is behind one of the hashes."""
        for one in stored:
            if await self.verify(one, password):
                return True
        return False

    def outdated(self, stored: str) -> bool:
        """Whether `stored` was made with other costs than today's."""
        return self._argon2.check_needs_rehash(stored)

    def close(self) -> None:
        """Lets the threads go; what still waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._argon2.verify(stored, prepare(password))
        except argon2.exceptions.VerifyMismatchError:
            return False

    async def _run(self, purpose: str, work: Callable[[], T]) -> T:
        if self._pending >= self._limit:
            raise Unavailable("Too many sign-ins at once. Try again in a moment.", reason="PASSWORD_QUEUE_FULL")
        self._pending += 1
        loop = asyncio.get_running_loop()
        future: Future[T] = self._pool.submit(work)
        # Counted down when the thread is done, not when its caller gives up: what was cancelled still burns.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done) if not loop.is_closed() else None)
        computed.labels(purpose).inc()
        return await asyncio.wrap_future(future)

    def _done(self) -> None:
        self._pending -= 1


def _hash_of_no_password() -> str:
    """A hash with today's costs in PHC form that nobody knows a password for."""
    salt, digest = (b64encode(os.urandom(size)).rstrip(b"=").decode() for size in (16, 32))
    return f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${digest}"
