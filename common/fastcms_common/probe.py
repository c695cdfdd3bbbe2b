"""`python -m fastcms_common.probe TARGET`: whether a process is well, as an exit code, for container health checks.

    host:port             gRPC health (grpc.health.v1): ready, with all that it needs
    host:port/            gRPC health: alive
    http://host:port/path any 2xx answer

With mutual TLS (TLS_CERT_FILE, TLS_KEY_FILE, TLS_CA_FILE) a gRPC target is asked by the name in that certificate: a
process asks itself, whatever address it does so at.

Exit code 0 where it is, 1 and one line on stderr where it is not.
"""

from __future__ import annotations

import http.client
import os
import sys
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

READY = "ready"
# Seconds to connect and to be answered.
PATIENCE = 2.0


def trouble(target: str) -> str | None:
    """What is wrong with the process at `target`; None where it is well."""
    if target.startswith("http://"):
        return _http_trouble(target)
    address, slash, _ = target.partition("/")
    return _grpc_trouble(address, "" if slash else READY)


def _http_trouble(url: str) -> str | None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
    try:
        connection.request("GET", parts.path or "/")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{url}: {type(error).__name__}"
    finally:
        connection.close()
    return None if 200 <= status < 300 else f"{url}: {status}"


def _grpc_trouble(address: str, service: str) -> str | None:
    try:
        channel = _channel(address)
    except (OSError, ValueError) as error:
        return f"{address}: {error}"
    with channel:
        stub = cast(Any, health_pb2_grpc.HealthStub(channel))
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)
        except grpc.RpcError as error:
            return f"{address}: {error.code().name}"
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return None
    return f"{address}: {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"


def _channel(address: str) -> grpc.Channel:
    """Raises OSError or ValueError where the files of the certificate are bad."""
    files = [os.environ.get(f"TLS_{name}_FILE") for name in ("CERT", "KEY", "CA")]
    if not all(files):
        return grpc.insecure_channel(address)
    # Only who has TLS pays for it: the probe is started every few seconds.
    from fastcms_common.tls import Certificate

    certificate = Certificate.read(*(Path(file) for file in files if file))
    credentials = grpc.ssl_channel_credentials(certificate.authorities, certificate.key, certificate.chain)
    name = certificate.name()
    options = [("grpc.ssl_target_name_override", name)] if name else []
    return grpc.secure_channel(address, credentials, options=options)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m fastcms_common.probe host:port[/] | http://host:port/path\n")
        return 2
    problem = trouble(arguments[0])
    if problem is None:
        return 0
    sys.stderr.write(f"{problem}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
