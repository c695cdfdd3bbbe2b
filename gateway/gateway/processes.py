"""What the gateway needs of the operating system: a listening socket, a metrics port, an end with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from fastcms_common.settings import stop

_PR_SET_PDEATHSIG: Final = 1
_BACKLOG: Final = 2048
_METRICS: Final = "fastcms-metrics-"


def listen(address: str) -> socket.socket:
    """A socket that listens on `host:port`. Ends the process with one line where it cannot be had."""
    host, port = split_address(address)
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        stop(f"LISTEN: {address} cannot be listened on ({getattr(error, 'strerror', None) or error})")
    listening.setblocking(False)
    listening.set_inheritable(True)
    return listening


def adopt(descriptor: int) -> socket.socket:
    """A listening socket that the parent process has opened. Ends the process with one line where there is none."""
    try:
        listening = socket.socket(fileno=descriptor)
        listening.getsockname()
    except OSError as error:
        stop(f"LISTEN_FD: {descriptor} is not a socket ({error.strerror})")
    listening.setblocking(False)
    listening.set_inheritable(True)
    return listening


def split_address(address: str) -> tuple[str, int]:
    """Host, without brackets, and port of `host:port`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def serve_metrics(address: str, registry: CollectorRegistry | None = None) -> None:
    """Serves this process's metrics, or those of `registry`, from a thread of their own."""
    host, port = split_address(address)
    try:
        if registry is None:
            start_http_server(port, host)
        else:
            start_http_server(port, host, registry)
    except (OSError, OverflowError):
        stop(f"METRICS_LISTEN: {address} cannot be listened on")


@contextlib.contextmanager
def metrics_folder() -> Iterator[str]:
    """A folder for the workers' counts, named after this process; those that killed processes have left are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_METRICS}*-*"):
        owner = left.name.removeprefix(_METRICS).partition("-")[0]
        if owner.isdecimal() and not _lives(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_METRICS}{os.getpid()}-") as folder:
        yield folder


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def serve_metrics_of_workers(address: str, folder: str) -> None:
    """Serves the sum of what the workers count. They leave their counts in files in `folder`."""
    # The workers' prometheus_client reads it when it is imported: they have to be started after this.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    serve_metrics(address, registry)


def end_with_parent() -> None:
    """Has the kernel send SIGTERM to this process when its parent dies, however it dies. Only Linux has it."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # It may have died before it was asked for.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def end_well() -> None:
    """Has a process that was asked to end do so with exit code 0: uvicorn sends itself the signal again at its end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
