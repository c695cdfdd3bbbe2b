"""Traces of the real suite, as a collector receives them over OTLP."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.suite import Suite, start_suite, wait_until

PASSWORD = "another horse battery staple"


@dataclass
class Seen:
    """A span, and the process that it is from."""

    service: str
    span: Span

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def facts(self) -> dict[str, str]:
        return {one.key: one.value.string_value or str(one.value.int_value) for one in self.span.attributes}


@dataclass
class Collector:
    """Takes what any OTLP exporter sends."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            (service,) = [one.value.string_value for one in resource.resource.attributes if one.key == "service.name"]
            self.seen += [Seen(service, span) for scope in resource.scope_spans for span in scope.spans]

    def trace(self, trace_id: str) -> list[Seen]:
        return [one for one in list(self.seen) if one.span.trace_id.hex() == trace_id]

    def wait(self, trace_id: str, name: str, service: str) -> Seen:
        """The span of that name, once it has come."""

        def found() -> Seen | None:
            return next((one for one in self.trace(trace_id) if (one.name, one.service) == (name, service)), None)

        try:
            seen = wait_until(found, f"{service} has sent {name}")
        except AssertionError as error:
            error.add_note("\n".join(f"{one.service}: {one.name}" for one in self.trace(trace_id)))
            raise
        assert seen is not None
        return seen

    def parents(self, seen: Seen) -> list[str]:
        """Whose child it is, up to the first: `service: name`."""
        by_id = {one.span.span_id: one for one in self.trace(seen.span.trace_id.hex())}
        above = []
        while parent := by_id.get(seen.span.parent_span_id):
            above.append(f"{parent.service}: {parent.name}")
            seen = parent
        return above


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()

    class Receive(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            assert self.headers["Content-Type"] == "application/x-protobuf"
            collector.take(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Tests are quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receive) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        collector.url = f"http://127.0.0.1:{server.server_port}"
        yield collector
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def traced(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite that sends its traces to the collector, of requests whose caller traces and of no others."""
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "ADMIN_EMAIL": ADMIN_EMAIL,
        "ADMIN_PASSWORD": ADMIN_PASSWORD,
    }
    with start_suite(tmp_path_factory.mktemp("traced") / "data", **environment) as suite:
        yield suite


@pytest.fixture(scope="module")
def admin(traced: Suite) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=traced.base_url, trust_env=False, timeout=20) as client:
        answer = client.post("/api/v1/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


def traceparent(number: int, sampled: bool = True) -> tuple[str, dict[str, str]]:
    """A trace id of the client's, and the header that tells of it."""
    trace_id = f"{number:032x}"
    return trace_id, {"traceparent": f"00-{trace_id}-00000000000000ff-0{int(sampled)}"}


def test_a_request_is_one_trace_from_rest_to_the_database(collector: Collector, admin: httpx.Client):
    trace_id, header = traceparent(0xA1)
    fields = [{"name": "title", "type": "text"}]
    made = admin.post("/api/v1/collections", json={"name": "traced", "schema": fields}, headers=header)
    assert made.status_code == 201, made.text
    trace_id, header = traceparent(0xA2)
    record = admin.post("/api/v1/collections/traced/records", json={"data": {"title": "x"}}, headers=header)
    assert record.status_code == 201, record.text

    rpc = "fastcms.collections.v1.RecordsService/CreateRecord"
    route = "POST /api/v1/collections/{collection}/records"
    stored = wait_until(
        lambda: [one for one in collector.trace(trace_id) if one.facts.get("db.system.name") == "sqlite"], "a store"
    )[-1]
    entered = collector.wait(trace_id, route, "gateway")
    collector.wait(trace_id, rpc, "gateway")
    collector.wait(trace_id, rpc, "collections-service")
    assert collector.parents(stored) == [f"collections-service: {rpc}", f"gateway: {rpc}", f"gateway: {route}"]
    assert entered.span.parent_span_id.hex() == "00000000000000ff"
    assert entered.facts["http.response.status_code"] == "201"
    assert entered.facts["fastcms.request_id"] == record.headers["x-request-id"]


def test_a_sign_in_is_one_trace_from_rest_to_redis(collector: Collector, traced: Suite):
    trace_id, header = traceparent(0xB1)
    credentials = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
    with httpx.Client(base_url=traced.base_url, trust_env=False) as client:
        assert client.post("/api/v1/auth/login", json=credentials, headers=header).status_code == 200

    rpc = "fastcms.auth.v1.AuthService/Login"
    collector.wait(trace_id, "POST /api/v1/auth/login", "gateway")
    # Each process sends its spans when it likes, those that end first before the others.
    collector.wait(trace_id, rpc, "auth-service")
    asked = [one for one in collector.trace(trace_id) if one.facts.get("db.system.name") == "redis"]
    above = [collector.parents(one) for one in asked if one.service == "auth-service"]
    assert [f"auth-service: {rpc}", f"gateway: {rpc}", "gateway: POST /api/v1/auth/login"] in above
    told = str([one.span for one in collector.trace(trace_id)])
    assert ADMIN_EMAIL not in told
    assert ADMIN_PASSWORD not in told


def test_a_trigger_is_one_trace_from_rest_to_the_job_and_what_it_calls(collector: Collector, admin: httpx.Client):
    # The first trigger of all loads Celery: where that takes long the beat has a worker called before, in no trace.
    first, header = traceparent(0xC0)
    assert admin.post("/api/v1/admin/cron/cleanup_audit_logs/trigger", headers=header).status_code < 300
    collector.wait(first, "send runs", "scheduler-service")
    trace_id, header = traceparent(0xC1)
    task = "cleanup_expired_tokens"
    assert admin.post(f"/api/v1/admin/cron/{task}/trigger", headers=header).status_code < 300

    rpc = "fastcms.auth.v1.IdentitiesService/DeleteExpiredTokens"
    called = collector.wait(trace_id, rpc, "auth-service")
    collector.wait(trace_id, f"run {task}", "scheduler-worker")
    collector.wait(trace_id, "send runs", "scheduler-service")
    trigger = "fastcms.scheduler.v1.SchedulerService/TriggerTask"
    collector.wait(trace_id, trigger, "scheduler-service")
    collector.wait(trace_id, "POST /api/v1/admin/cron/{task}/trigger", "gateway")
    assert collector.parents(called)[:3] == [
        f"scheduler-worker: {rpc}",
        f"scheduler-worker: run {task}",
        "scheduler-service: send runs",
    ]
    assert collector.parents(called)[-1] == "gateway: POST /api/v1/admin/cron/{task}/trigger"
    assert f"scheduler-service: {trigger}" in collector.parents(called)


def test_a_failure_of_the_caller_is_none_of_the_service(collector: Collector, admin: httpx.Client):
    trace_id, header = traceparent(0xD1)
    assert admin.get("/api/v1/collections/traced/records/nowhere", headers=header).status_code == 404

    entered = collector.wait(trace_id, "GET /api/v1/collections/{collection}/records/{id}", "gateway")
    served = collector.wait(trace_id, "fastcms.collections.v1.RecordsService/GetRecord", "collections-service")
    assert entered.facts["http.response.status_code"] == "404"
    assert served.facts["rpc.grpc.status_code"] == "5"
    assert {entered.span.status.code, served.span.status.code} == {0}


def test_who_does_not_want_a_trace_leaves_none(collector: Collector, admin: httpx.Client):
    unwanted, header = traceparent(0xE1, sampled=False)
    assert admin.get("/api/v1/auth/me", headers=header).status_code == 200
    assert admin.get("/api/v1/auth/me", headers={"traceparent": "00-nonsense"}).status_code == 200
    assert admin.get("/api/v1/auth/me").status_code == 200
    wanted, header = traceparent(0xE2)
    assert admin.get("/api/v1/auth/me", headers=header).status_code == 200

    collector.wait(wanted, "GET /api/v1/auth/me", "gateway")
    collector.wait(wanted, "fastcms.auth.v1.AuthService/GetMe", "auth-service")
    assert collector.trace(unwanted) == []
    ours = {f"{number:032x}" for number in (0xA1, 0xA2, 0xB1, 0xC0, 0xC1, 0xD1, 0xE2)}
    assert {one.span.trace_id.hex() for one in collector.seen} <= ours
