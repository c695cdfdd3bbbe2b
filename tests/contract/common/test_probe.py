"""The health check of containers, against servers that are well and servers that are not."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from fastcms_common import probe
from tests.ports import free_port

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def service() -> Iterator[tuple[health.HealthServicer, str]]:
    """The health service of a server that lives, and its address."""
    servicer = health.HealthServicer()
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield servicer, f"127.0.0.1:{port}"
        server.stop(None).wait()


class Answer(http.server.BaseHTTPRequestHandler):
    """204 at /health, 503 elsewhere."""

    def do_GET(self) -> None:
        self.send_response(204 if self.path == "/health" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def web() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_service_that_is_ready_is_well(service: tuple[health.HealthServicer, str]) -> None:
    servicer, address = service
    servicer.set("ready", SERVING)

    assert probe.main([address]) == 0


def test_a_service_that_lacks_something_lives_and_is_not_ready(
    service: tuple[health.HealthServicer, str], capsys: pytest.CaptureFixture[str]
) -> None:
    servicer, address = service
    servicer.set("ready", NOT_SERVING)

    assert probe.main([f"{address}/"]) == 0
    assert probe.main([address]) == 1
    assert capsys.readouterr().err == f"{address}: NOT_SERVING\n"


def test_a_service_that_has_never_been_ready_is_not_well(service: tuple[health.HealthServicer, str]) -> None:
    _, address = service

    assert probe.trouble(address) == f"{address}: NOT_FOUND"


def test_nobody_there_is_not_well() -> None:
    address = f"127.0.0.1:{free_port()}"

    assert probe.trouble(address) == f"{address}: UNAVAILABLE"
    assert probe.trouble(f"http://{address}/health") == f"http://{address}/health: ConnectionRefusedError"


def test_a_page_is_well_where_its_status_says_so(web: str) -> None:
    assert probe.trouble(f"{web}/health") is None
    assert probe.trouble(f"{web}/other") == f"{web}/other: 503"


def test_without_a_target_it_says_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main([]) == 2
    assert "usage" in capsys.readouterr().err
