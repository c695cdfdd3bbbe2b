"""The port at which a process tells Prometheus how it is doing."""

from __future__ import annotations

from prometheus_client import start_http_server

from fastcms_common.settings import stop


def serve_metrics(address: str) -> None:
    """Serves this process's metrics on `host:port`, from a thread. Ends it with one line where that cannot be had."""
    host, _, port = address.rpartition(":")
    try:
        start_http_server(int(port), host.strip("[]"))
    except OSError:
        stop(f"METRICS_LISTEN: {address} cannot be listened on")
