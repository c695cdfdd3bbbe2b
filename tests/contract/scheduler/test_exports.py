"""The files of export jobs, through the service that hands them out."""

from __future__ import annotations

import pytest

from fastcms.scheduler.v1 import exports_pb2, exports_pb2_grpc
from fastcms_common.errors import NotFound, Unauthenticated, Unavailable
from tests.contract.scheduler.system import ADMIN, System, until
from tests.contract.scheduler.test_tasks import audit_events

NAME = "posts-20260301T000000Z-0a1b2c3d.csv"
# Several pieces and a bit.
TEXT = b"id,title\n" + b"x" * 1_000_000


async def listed(system: System) -> list[exports_pb2.Export]:
    stub = exports_pb2_grpc.ExportsServiceStub(system.channel)
    answer = await system.as_admin(stub.ListExports, exports_pb2.ListExportsRequest(task="posts"))
    return list(answer.items)


async def downloaded(system: System, name: str) -> tuple[str, bytes]:
    stub = exports_pb2_grpc.ExportsServiceStub(system.channel)

    async def read(request: exports_pb2.DownloadExportRequest) -> list[tuple[str, bytes]]:
        return [(piece.content_type, piece.data) async for piece in stub.DownloadExport(request)]

    async def pieces() -> list[tuple[str, bytes]]:
        # The channel looks for a service that was restarted after a moment only.
        try:
            return await system.as_admin(read, exports_pb2.DownloadExportRequest(name=name))
        except Unavailable:
            return []

    found = await until(pieces, f"{name} is downloaded")
    return found[0][0], b"".join(data for _, data in found)


async def test_a_file_is_listed_downloaded_and_removed_also_after_a_restart(system: System):
    exports = system.folder / "exports"
    exports.mkdir()
    (exports / NAME).write_bytes(TEXT)
    (exports / NAME.replace("posts", "empty")).touch()
    service = await system.start_service()
    (file,) = await listed(system)
    assert (file.name, file.task, file.format, file.size) == (NAME, "posts", "csv", len(TEXT))
    assert file.created.ToJsonString() == "2026-03-01T00:00:00Z"
    await service.stop()
    await system.start_service()
    assert await listed(system) == [file]
    assert await downloaded(system, NAME) == ("text/csv; charset=utf-8", TEXT)
    assert await downloaded(system, NAME.replace("posts", "empty")) == ("text/csv; charset=utf-8", b"")
    stub = exports_pb2_grpc.ExportsServiceStub(system.channel)
    await system.as_admin(stub.DeleteExport, exports_pb2.DeleteExportRequest(name=NAME))
    assert await listed(system) == []
    with pytest.raises(NotFound):
        await downloaded(system, NAME)
    with pytest.raises(NotFound):
        await system.as_admin(stub.DeleteExport, exports_pb2.DeleteExportRequest(name="../service.key"))
    events = [(event.event_action, event.user_id, event.resource_id) for event in await audit_events(system.redis_url)]
    assert events == [
        ("cron_export_downloaded", ADMIN, NAME),
        ("cron_export_downloaded", ADMIN, NAME.replace("posts", "empty")),
        ("cron_export_deleted", ADMIN, NAME),
    ]
    with pytest.raises(Unauthenticated):
        await stub.ListExports(exports_pb2.ListExportsRequest())
