"""A connection to a SQLite file, set up the way this engine wants it."""

from __future__ import annotations

from pathlib import Path

import apsw

from fastcms_common.storage import values


def connect(
    file: Path, *, writing: bool = False, lock_wait_seconds: float = 5.0, page_limit: int | None = None
) -> apsw.Connection:
    """Opens the file. Readers cannot write.

    A lock of another process (a backup, say) is waited for `lock_wait_seconds`; the file never has more than
    `page_limit` pages of 4 KiB.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOMUTEX
    connection = apsw.Connection(str(file), flags=flags, statementcachesize=512)
    connection.set_busy_timeout(int(lock_wait_seconds * 1000))
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA fullfsync=ON")
    connection.execute("PRAGMA cache_size=-16384")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.create_scalar_function("fc_like", _like, 2, deterministic=True)
    connection.create_scalar_function("fc_lower", _lower, 1, deterministic=True)
    if page_limit is not None:
        connection.execute(f"PRAGMA max_page_count={page_limit:d}")
    if not writing:
        connection.execute("PRAGMA query_only=ON")
    return connection


def _like(*given: apsw.SQLiteValue) -> apsw.SQLiteValue:
    value, pattern = given
    return int(isinstance(value, str) and isinstance(pattern, str) and values.like(value, pattern))


def _lower(*given: apsw.SQLiteValue) -> apsw.SQLiteValue:
    (value,) = given
    return values.lower(value) if isinstance(value, str) else value
