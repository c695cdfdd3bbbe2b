"""Metrics: messages in, messages out."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from fastcms.scheduler.v1 import metrics_pb2, metrics_pb2_grpc
from scheduler_service.conversions import timestamp
from scheduler_service.metrics import Metrics, Point


class MetricsServicer(metrics_pb2_grpc.MetricsServiceServicer):
    """What is collected, and what charts are made of."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def CollectMetrics(
        self, request: metrics_pb2.CollectMetricsRequest, context: Any
    ) -> metrics_pb2.CollectMetricsResponse:
        up, down = await self._metrics.collect(request.fencing_token)
        return metrics_pb2.CollectMetricsResponse(up=up, down=down)

    async def ListMetrics(
        self, request: metrics_pb2.ListMetricsRequest, context: Any
    ) -> metrics_pb2.ListMetricsResponse:
        begin = request.from_date.ToDatetime(UTC) if request.HasField("from_date") else None
        end = request.to_date.ToDatetime(UTC) if request.HasField("to_date") else None
        points = await self._metrics.points(begin, end, request.step if request.HasField("step") else 1)
        return metrics_pb2.ListMetricsResponse(items=[_message(point) for point in points], total=len(points))


def _message(point: Point) -> metrics_pb2.MetricsPoint:
    return metrics_pb2.MetricsPoint(
        time=timestamp(point.time),
        seconds=point.seconds,
        requests=point.requests,
        client_errors=point.client_errors,
        server_errors=point.server_errors,
        p50_ms=point.milliseconds(0.5),
        p95_ms=point.milliseconds(0.95),
        p99_ms=point.milliseconds(0.99),
        processes=[
            metrics_pb2.ProcessMetrics(
                name=name,
                up=process.up,
                memory_bytes=process.memory_bytes,
                cpu_seconds=process.cpu_seconds,
            )
            for name, process in sorted(point.processes.items())
        ],
    )
