"""The threads beside the event loop that talk to SQLite: one writer with group commit, a few readers.

SQLite's calls block, and a durable commit waits for the disk. While one commit waits, the writes that arrive queue up;
the next transaction takes them all, so that the price of the disk is shared, and each has a savepoint of its own, so
that one that fails does not hurt the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeAlias, TypeVar

import apsw

from fastcms_common.errors import TimedOut, Unavailable

T = TypeVar("T")
Work: TypeAlias = Callable[[apsw.Connection], T]
_Job: TypeAlias = "tuple[Work[Any], asyncio.Future[Any]]"
_Outcome: TypeAlias = "tuple[asyncio.Future[Any], Any, BaseException | None]"

# How many writes share one transaction at most: keeps the wait of the first of them short.
BATCH = 256
# After this many virtual machine steps, some hundred microseconds where none calls Python, SQLite asks whether the time
# is up. Each time it has to wait for the GIL.
STEPS_BETWEEN_CHECKS = 10_000


class Worker:
    """A thread with a connection of its own, doing one job after the other. Jobs come from one event loop."""

    def __init__(self, name: str, connect: Callable[[], apsw.Connection], jobs: SimpleQueue[_Job | None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs = jobs
        self._connect = connect
        self._connection: apsw.Connection | None = None
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def join(self) -> None:
        """Waits for the end, which a None in the queue asks for."""
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._deliver(self._do([job]))
        self._disconnect()

    def _do(self, jobs: list[_Job]) -> list[_Outcome]:
        return [(future, *self._outcome(work)) for work, future in jobs if not future.cancelled()]

    def _outcome(self, work: Work[Any]) -> tuple[Any, BaseException | None]:
        try:
            with translated():
                return work(self._connected()), None
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the caller who waits for it
            if isinstance(error, Unavailable):
                self._disconnect()
            return None, error

    def _connected(self) -> apsw.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _disconnect(self) -> None:
        """Lets go of the connection; after an error of the file or the disk the next job opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except apsw.Error:
                return

    def _deliver(self, outcomes: list[_Outcome]) -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, outcomes)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            return


class Writer(Worker):
    """The one thread that writes. All jobs that have gathered become one transaction, durable before anyone is told."""

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs, last = self._gathered(job)
            self._deliver(self._do(jobs))
            if last:
                break
        self._disconnect()

    def _gathered(self, first: _Job) -> tuple[list[_Job], bool]:
        jobs = [first]
        while len(jobs) < BATCH:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
        return jobs, False

    def _do(self, jobs: list[_Job]) -> list[_Outcome]:
        waiting = [(work, future) for work, future in jobs if not future.cancelled()]
        try:
            with translated():
                return self._transaction(self._connected(), waiting)
        except Exception as error:  # noqa: BLE001 - the transaction as a whole has failed: all who wait must hear of it
            self._disconnect()
            return [(future, None, error) for _, future in waiting]

    def _transaction(self, connection: apsw.Connection, jobs: list[_Job]) -> list[_Outcome]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            outcomes = [(future, *_in_savepoint(connection, work)) for work, future in jobs]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return outcomes


def _in_savepoint(connection: apsw.Connection, work: Work[Any]) -> tuple[Any, BaseException | None]:
    connection.execute("SAVEPOINT job")
    try:
        result = work(connection)
    except Exception as error:
        # SQLite ends the whole transaction by itself when the disk fails or is full: then everyone has failed.
        if not connection.in_transaction or isinstance(error, apsw.IOError | apsw.FullError | apsw.NoMemError):
            raise
        connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
        return None, error
    connection.execute("RELEASE job")
    return result, None


def _resolve(outcomes: list[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


@contextmanager
def translated() -> Iterator[None]:
    """SQLite's errors as domain errors: a lost, locked, full or broken database is Unavailable."""
    try:
        yield
    except apsw.InterruptError as error:
        raise TimedOut("The database took too long to answer.") from error
    except (apsw.SQLError, apsw.MisuseError, apsw.ConstraintError, apsw.MismatchError, apsw.RangeError):
        raise
    except apsw.Error as error:
        raise Unavailable("The database is not available.", reason="STORAGE_UNAVAILABLE") from error


@contextmanager
def time_limit(connection: apsw.Connection, seconds: float) -> Iterator[None]:
    """Interrupts the statements within after so many seconds (TimedOut)."""
    end = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > end, STEPS_BETWEEN_CHECKS)
    try:
        yield
    finally:
        connection.set_progress_handler(None)
