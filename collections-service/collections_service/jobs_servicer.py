"""Jobs: messages in, messages out."""

from __future__ import annotations

from typing import Any

from collections_service.jobs import Jobs, Lease
from fastcms.collections.v1 import jobs_pb2 as pb
from fastcms.collections.v1.jobs_pb2_grpc import JobsServiceServicer


class JobsServicer(JobsServiceServicer):
    """`fastcms.collections.v1.JobsService`."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def TruncateForJob(self, request: pb.TruncateForJobRequest, context: Any) -> pb.TruncateForJobResponse:
        lease = Lease(request.job, request.run_id, request.fencing_token)
        return pb.TruncateForJobResponse(deleted_count=await self._jobs.truncate(request.collection, lease))
