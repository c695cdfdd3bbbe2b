"""The table of processes that make up the suite, and how they find each other.

This file is the wiring of the bare run: which names in whose environment. What a name means is said by the settings of
the process that reads it (`fastcms_common.settings` for those that all of them share).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from fastcms_cli.config import Settings
from fastcms_cli.data_folder import DataFolder
from fastcms_cli.ports import LOOPBACK, address, free_ports
from fastcms_cli.processes import ProcessSpec
from fastcms_cli.redis_server import RedisServer

STOP_FIRST, STOP_SECOND, STOP_THIRD, STOP_LAST = range(4)
"""The gateway stops first (no new calls), then the worker, then the services, and Redis when nobody needs it."""

AUTH_ONLY = ("ADMIN_EMAIL", "ADMIN_PASSWORD", "SETUP_TOKEN", "SMTP_URL")
"""Secrets that one service reads: the other processes do not inherit them."""

DECIDED_HERE = (
    *("FASTCMS_HOST", "FASTCMS_PORT", "FASTCMS_DATA_DIR", "STORAGE_URL"),
    *("LISTEN", "LISTEN_FD", "METRICS_LISTEN", "MASTER_KEY_FILE", "OUTBOX_DIR"),
)
"""What the environment of the run says under these names is not for every process as it stands."""


@dataclass(frozen=True, slots=True)
class Member:
    """One row: a process of the suite. `stores` is the name of its database, for those that have one."""

    name: str
    module: str
    stop_rank: int
    stores: str | None = None
    target: str | None = None
    """The variable by which the others find its gRPC port; None for a process that nobody calls."""


AUTH = Member("auth-service", "auth_service", STOP_THIRD, "auth", "AUTH_SERVICE")
SCHEDULER = Member("scheduler-service", "scheduler_service", STOP_THIRD, "scheduler", "SCHEDULER_SERVICE")
SERVICES = (
    AUTH,
    Member("collections-service", "collections_service", STOP_THIRD, "collections", "COLLECTIONS_SERVICE"),
    Member("admin-service", "admin_service", STOP_THIRD, "admin", "ADMIN_SERVICE"),
    SCHEDULER,
)
WORKER = Member("scheduler-worker", "scheduler_service.worker", STOP_SECOND, "scheduler")
GATEWAY = Member("gateway", "gateway", STOP_FIRST)
REDIS = "redis"


@dataclass(frozen=True, slots=True)
class Suite:
    """Everything that was decided before the first process is started."""

    specs: tuple[ProcessSpec, ...]
    base_url: str
    redis_url: str
    addresses: Mapping[str, str]
    """By process name: where it listens (gRPC, HTTP for the gateway, RESP for Redis)."""

    metrics: Mapping[str, str]


def plan(settings: Settings, folder: DataFolder, *, listener_fd: int, port: int) -> Suite:
    """Lay out a run: its ports, its Redis, and the environment of each process.

    `listener_fd` is the listening socket of the gateway, `port` the port it has. Raises BadStart without a Redis.
    """
    ports = free_ports(port)
    members = (*SERVICES, WORKER, GATEWAY)
    addresses = {member.name: f"{LOOPBACK}:{next(ports)}" for member in SERVICES}
    metrics = {member.name: f"{LOOPBACK}:{next(ports)}" for member in members}
    addresses[GATEWAY.name] = address(settings.host, port)
    specs = []
    if settings.redis_url:
        redis_url = settings.redis_url.get_secret_value()
    else:
        redis = RedisServer(folder, next(ports))
        redis_url, addresses[REDIS] = redis.url, redis.address
        specs.append(ProcessSpec(REDIS, redis.command, {}, STOP_LAST, unheard=redis.SMALL_TALK))

    base_url = f"http://{address(local_host(settings.host), port)}"
    shared = _shared_environment(settings, folder, redis_url, base_url)
    shared |= {member.target: addresses[member.name] for member in SERVICES if member.target}
    for member in members:
        own = {"METRICS_LISTEN": metrics[member.name]}
        if member.name in addresses:
            own["LISTEN"] = addresses[member.name]
        if member.stores:
            own["STORAGE_URL"] = storage_url(settings, folder, member.stores)
        if member is GATEWAY:
            own |= {"LISTEN_FD": str(listener_fd), "GATEWAY_WORKERS": str(settings.gateway_workers)}
        if member is AUTH:
            own |= _auth_environment(folder)
        if member is SCHEDULER:
            own["METRICS_TARGETS"] = ",".join(f"{name}={target}" for name, target in metrics.items())
        # -P: the working directory, where a folder may be called as a package is, is not searched for modules.
        command = (sys.executable, "-P", "-m", member.module)
        descriptors = (listener_fd,) if member is GATEWAY else ()
        specs.append(ProcessSpec(member.name, command, shared | own, member.stop_rank, descriptors))
    return Suite(tuple(specs), base_url, redis_url, addresses, metrics)


def _shared_environment(settings: Settings, folder: DataFolder, redis_url: str, base_url: str) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name.upper() not in (*AUTH_ONLY, *DECIDED_HERE)}
    environment |= {
        "DATA_DIR": str(folder.path),
        "REDIS_URL": redis_url,
        "SERVICE_KEY_FILE": str(folder.secret("service.key")),
        "APP_URL": settings.app_url or base_url,
        "LOG_FORMAT": os.environ.get("LOG_FORMAT") or "console",
        "LOG_LEVEL": os.environ.get("LOG_LEVEL") or "info",
        # The processes stop in order, those of one rank together: nobody is left who would call.
        "LEAVING_SECONDS": "0",
        # A line is worth reading when it is written, not when a buffer is full.
        "PYTHONUNBUFFERED": "1",
    }
    return environment


def _auth_environment(folder: DataFolder) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name.upper() in AUTH_ONLY}
    return own | {
        "MASTER_KEY_FILE": str(folder.secret("master.key")),
        "OUTBOX_DIR": str(folder.folder("outbox")),
    }


def storage_url(settings: Settings, folder: DataFolder, name: str) -> str:
    """Where one service keeps its data: as STORAGE_URL says, else in a SQLite file of its own in the data folder."""
    if settings.storage_url is None:
        return f"sqlite://{quote(str(folder.path))}/{name}.db"
    return settings.storage_url.get_secret_value()


def local_host(host: str) -> str:
    """The address at which this machine reaches what listens on `host`: loopback where that is every address."""
    return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104
