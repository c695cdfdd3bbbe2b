"""The gateway as a process: `python -m gateway`. Wiring, nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import grpc.aio
import uvicorn
from uvicorn.supervisors import Multiprocess

from fastcms_common import logs
from fastcms_common.access import Authenticator
from fastcms_common.audit import AuditLog
from fastcms_common.cancelling import end
from fastcms_common.live_settings import LiveSettings
from fastcms_common.process import Process, freeze
from fastcms_common.serving import READY
from fastcms_common.settings import load
from gateway.access_log import AccessLog, Form, console_line, json_line
from gateway.addresses import ClientAddresses
from gateway.config import Settings
from gateway.cors import Cors
from gateway.dashboard import add_dashboard
from gateway.dispatcher import compile_endpoints
from gateway.edge import Admit, Edge, Lifespan
from gateway.health import AliveEndpoint, Check, ReadyEndpoint, redis_check, service_check
from gateway.ip_rules import IpRules
from gateway.openapi import build_openapi
from gateway.pages import build_pages
from gateway.processes import (
    adopt,
    end_well,
    end_with_parent,
    listen,
    metrics_folder,
    serve_metrics,
    serve_metrics_of_workers,
)
from gateway.rate_limits import RateLimits
from gateway.routes import PACKAGES, Route, compile_routes, services_of

NAME = "gateway"


def application() -> Edge:
    """The ASGI application of one worker. Called by uvicorn, inside the worker's event loop."""
    settings = load(Settings)
    logs.configure(settings, NAME)
    if settings.gateway_workers > 1:
        end_with_parent()

    process = Process(settings, NAME)
    services = {name: process.raw_channel(getattr(settings, name)) for name in PACKAGES.values()}
    ip_rules = IpRules(process.redis)
    limits = RateLimits(process.redis, settings)
    live = LiveSettings(process.redis, {"rate_limits": limits.change})

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        freeze()
        await ip_rules.prepare()
        await live.prepare()
        tasks = [asyncio.create_task(work) for work in (process.sessions.watch(), ip_rules.watch(), live.watch())]
        try:
            yield
        finally:
            await end(tasks)
            await limits.close()
            await process.close()

    return build(
        settings,
        compile_routes(service for package in PACKAGES for service in services_of(package)),
        {package: services[name] for package, name in PACKAGES.items()},
        process.authenticator,
        checks={
            "redis": redis_check(process.redis),
            "ip-rules": ip_rules.known,
            **{name.replace("_", "-"): service_check(channel, READY) for name, channel in services.items()},
        },
        lifespan=lifespan,
        admit=ip_rules.admit,
        limits=limits,
        audit=process.audit,
    )


def build(
    settings: Settings,
    routes: Sequence[Route],
    channels: Mapping[str, grpc.aio.Channel],
    authenticator: Authenticator,
    *,
    checks: Mapping[str, Check],
    lifespan: Lifespan,
    admit: Admit,
    limits: RateLimits | None = None,
    audit: AuditLog | None = None,
) -> Edge:
    """The gateway for `routes`, with a channel for each of their proto packages."""
    dispatcher = compile_endpoints(
        routes,
        channels,
        authenticator,
        body_limit=settings.max_body_bytes,
        seconds=settings.call_seconds,
        limits=limits,
        audit=audit,
    )
    dispatcher.add("GET", AliveEndpoint())
    dispatcher.add("GET", ReadyEndpoint(checks))
    add_dashboard(dispatcher, settings.app_url)
    return Edge(
        dispatcher,
        build_pages(build_openapi(routes)),
        addresses=ClientAddresses(settings.proxies),
        cors=Cors(settings.origins),
        access_log=AccessLog(_form(settings)),
        body_limit=settings.max_body_bytes,
        lifespan=lifespan,
        admit=admit,
    )


def _form(settings: Settings) -> Form | None:
    if not settings.access_log or settings.log_level in ("warning", "error"):
        return None
    return json_line if settings.log_format == "json" else console_line


def server_config(settings: Settings, app: Any, *, factory: bool = False) -> uvicorn.Config:
    """How uvicorn serves `app`, which with several workers has to be the name of a factory."""
    return uvicorn.Config(
        app,
        factory=factory,
        workers=settings.gateway_workers,
        loop="uvloop",
        http="gateway.connections:GuardedProtocol",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=settings.max_header_bytes,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
        # A worker does not answer before it has started, which takes its time where all start at once.
        timeout_worker_healthcheck=15,
    )


def main() -> None:
    """Serves until SIGTERM or SIGINT, then lets requests in flight finish."""
    settings = load(Settings)
    logs.configure(settings, NAME)
    config = server_config(settings, "gateway.__main__:application", factory=True)
    socket = listen(settings.listen) if settings.listen_fd is None else adopt(settings.listen_fd)
    if settings.gateway_workers == 1:
        if settings.metrics_listen:
            serve_metrics(settings.metrics_listen)
        end_well()
        uvicorn.Server(config).run(sockets=[socket])
        return
    with metrics_folder() as folder:
        if settings.metrics_listen:
            serve_metrics_of_workers(settings.metrics_listen, folder)
        Multiprocess(config, sockets=[socket]).run()


if __name__ == "__main__":
    main()
