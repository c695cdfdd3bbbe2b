"""Doing an export job: all records of a collection into a file, and the oldest of its files away."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterable, Mapping
from pathlib import Path
from typing import IO, Any

from google.api.httpbody_pb2 import HttpBody

from fastcms.collections.v1 import records_pb2, records_pb2_grpc
from fastcms.scheduler.v1.ledger_pb2 import ClaimedRun
from scheduler_service.executions import JobFailed
from scheduler_service.export_files import file_name
from scheduler_service.tasks import Services

_UNFINISHED = ".part"


class Exports:
    """Writes exports into `folder`."""

    def __init__(self, services: Services, folder: Path) -> None:
        self._records = records_pb2_grpc.RecordsServiceStub(services.collections)
        self._folder = folder

    async def run(self, run: ClaimedRun, job: Mapping[str, Any]) -> dict[str, Any]:
        """The name of the file and its bytes.

        A file is there whole or not at all; a run that is done again replaces its own. Raises JobFailed where the
        folder cannot be written to, and the domain errors of collections-service.
        """
        target = self._folder / file_name(run.task, run.run_id, job["format"])
        unfinished = target.with_name(f"{target.name}.{run.fencing_token}{_UNFINISHED}")
        request = records_pb2.ExportRecordsRequest(collection=job["collection"], format=job["format"])
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # What workers that are gone have left; one that is not gone after all cannot finish its file any more.
            for stale in self._folder.glob(f"{run.task}-*{_UNFINISHED}"):
                stale.unlink(missing_ok=True)
            with unfinished.open("wb") as file:
                size = await _write(self._records.ExportRecords(request), file)
                await asyncio.to_thread(os.fsync, file.fileno())
            unfinished.replace(target)
            self._forget_old(run.task, job["format"], job["keep"])
        except OSError as error:
            raise JobFailed(f"{target.name} cannot be written: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
        return {"file": target.name, "bytes": size}

    def _forget_old(self, task: str, format: str, keep: int) -> None:
        # The names of one job's files sort by time.
        files = sorted(self._folder.glob(f"{task}-????????T??????Z-????????.{format}"))
        for old in files[: max(0, len(files) - keep)]:
            old.unlink(missing_ok=True)


async def _write(parts: AsyncIterable[HttpBody], file: IO[bytes]) -> int:
    size = 0
    async for part in parts:
        size += file.write(part.data)
    return size
