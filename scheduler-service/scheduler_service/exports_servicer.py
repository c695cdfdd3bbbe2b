"""The files of export jobs: messages in, messages out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty

from fastcms.scheduler.v1 import exports_pb2, exports_pb2_grpc
from fastcms_common.audit import AuditLog
from scheduler_service.conversions import timestamp
from scheduler_service.export_files import ExportFile, ExportFiles

_MEDIA_TYPES = {"ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
# Bytes of a file that are in memory at once.
_PIECE = 256 * 1024


class ExportsServicer(exports_pb2_grpc.ExportsServiceServicer):
    """What admins do with what export jobs have written."""

    def __init__(self, files: ExportFiles, audit: AuditLog) -> None:
        self._files = files
        self._audit = audit

    async def ListExports(
        self, request: exports_pb2.ListExportsRequest, context: Any
    ) -> exports_pb2.ListExportsResponse:
        limit = request.limit if request.HasField("limit") else 100
        page, total = await self._files.page(request.task, limit, request.offset)
        return exports_pb2.ListExportsResponse(
            items=[_message(file) for file in page], total=total, limit=limit, offset=request.offset
        )

    async def DownloadExport(self, request: exports_pb2.DownloadExportRequest, context: Any) -> AsyncIterator[HttpBody]:
        file, stream = await self._files.open(request.name)
        try:
            # Before the first byte: a download that was cut short was one.
            await self._record("cron_export_downloaded", f"Export '{file.name}' was downloaded", file)
            piece = HttpBody(content_type=_MEDIA_TYPES[file.format], data=await asyncio.to_thread(stream.read, _PIECE))
            yield piece
            while data := await asyncio.to_thread(stream.read, _PIECE):
                yield HttpBody(data=data)
        finally:
            stream.close()

    async def DeleteExport(self, request: exports_pb2.DeleteExportRequest, context: Any) -> Empty:
        file = await self._files.remove(request.name)
        await self._record("cron_export_deleted", f"Export '{file.name}' was removed", file)
        return Empty()

    async def _record(self, action: str, description: str, file: ExportFile) -> None:
        await self._audit.record(
            "admin",
            action,
            severity="warning",
            description=description,
            resource_type="cron_export",
            resource_id=file.name,
            details={"task": file.task, "format": file.format, "size": file.size},
        )


def _message(file: ExportFile) -> exports_pb2.Export:
    return exports_pb2.Export(
        name=file.name, task=file.task, format=file.format, size=file.size, created=timestamp(file.created)
    )
