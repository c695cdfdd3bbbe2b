"""`fastcms import` and `fastcms export`: the records of a collection, through the public API, any number of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from fastcms_cli.api import checked
from fastcms_cli.deployment import Failed
from fastcms_cli.progress import Advance, bar

CHUNK = 256 * 1024
CONTENT_TYPES = {"ndjson": "application/x-ndjson", "csv": "text/csv"}


def format_of(file: Path, asked: str | None) -> str:
    """The format that was asked for, else that of the file's name. Raises Failed for one there is not."""
    chosen = (asked or ("csv" if file.suffix == ".csv" else "ndjson")).lower()
    if chosen not in CONTENT_TYPES:
        raise Failed(f"--format is ndjson or csv, not {chosen}")
    return chosen


def export(client: httpx.Client, collection: str, file: Path, format_name: str) -> int:
    """Writes all records of the collection to `file` (`-`: standard output), whole or not at all; how many bytes."""
    written = 0
    path = f"/collections/{collection}/records/export"
    with client.stream("GET", path, params={"format": format_name}) as answer:
        checked(answer)
        with _target(file) as out, bar(f"Exporting {collection}", None) as advance:
            for chunk in answer.iter_bytes(CHUNK):
                out.write(chunk)
                written += len(chunk)
                advance(len(chunk))
    return written


def load(client: httpx.Client, collection: str, file: Path, format_name: str) -> dict[str, Any]:
    """Creates records from `file` (`-`: standard input): `{created, failed, errors: [{line, detail, errors}]}`."""
    try:
        source: BinaryIO = sys.stdin.buffer if str(file) == "-" else file.open("rb")
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}") from None
    total = None if str(file) == "-" else file.stat().st_size
    with source, bar(f"Importing into {collection}", total) as advance:
        answer = client.post(
            f"/collections/{collection}/records/import",
            content=_chunks(source, advance),
            headers={"Content-Type": CONTENT_TYPES[format_name]},
        )
    result: dict[str, Any] = checked(answer).json()
    return result


def _chunks(source: BinaryIO, advance: Advance) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk
        advance(len(chunk))


@contextmanager
def _target(file: Path) -> Iterator[BinaryIO]:
    """Standard output, or a file that takes its place when it is whole: records are nobody else's business (0600)."""
    if str(file) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = file.with_name(file.name + ".part")
    try:
        part.touch(mode=0o600)
        with part.open("wb") as out:
            yield out
        part.replace(file)
    except OSError as error:
        raise Failed(f"{file} cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
