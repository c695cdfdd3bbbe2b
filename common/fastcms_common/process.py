"""What every process of the suite is put together from: Redis, sessions, tokens, channels, storage, and their end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc.aio
from google.api.httpbody_pb2 import HttpBody

from fastcms.auth.v1.keys_pb2 import GetKeySetRequest
from fastcms.auth.v1.keys_pb2_grpc import KeysServiceStub
from fastcms_common import logs, tracing
from fastcms_common.access import Authenticator
from fastcms_common.audit import AuditLog
from fastcms_common.channels import ServiceToken, open_channel, open_raw_channel
from fastcms_common.errors import Unavailable
from fastcms_common.redis_connection import connect
from fastcms_common.serving import AddToServer, Check, run, serve
from fastcms_common.sessions import SessionGuard
from fastcms_common.settings import ProcessSettings, load, stop
from fastcms_common.storage import Store, open_store
from fastcms_common.storage.migrations import DataTooNew
from fastcms_common.tls import tls_of
from fastcms_common.tokens import KeySource, TokenVerifier

S = TypeVar("S", bound=ProcessSettings)

_RETRY_SECONDS = 0.5

log = logs.get_logger(__name__)


class Process:
    """The parts that all processes have. An async context manager: at its end all that was opened is closed.

    `key_source` gives the keys that tokens are verified with; auth-service, which publishes them, has its own. What a
    service opens besides it adds to `closing`.
    """

    def __init__(self, settings: ProcessSettings, name: str, key_source: KeySource | None = None) -> None:
        self.settings = settings
        self.name = name
        self.closing = AsyncExitStack()
        tracing.start(settings, name)
        self.closing.push_async_callback(tracing.stop)
        self.tls = tls_of(settings)
        self.redis = connect(settings.redis_url)
        self.closing.push_async_callback(self.redis.aclose)
        self.sessions = SessionGuard(self.redis)
        self.audit = AuditLog(self.redis)
        self.verifier = TokenVerifier(key_source or self._published_keys, settings.token_issuer)
        self.authenticator = Authenticator(self.verifier, self.sessions)
        self._ready: dict[str, Check] = {"redis": self._redis_answers, "keys": self.verifier.ready}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes everything, what was opened last before the rest."""
        await self.closing.aclose()

    @cached_property
    def auth(self) -> grpc.aio.Channel:
        """auth-service, for what needs no token of this service."""
        return self.channel(self.settings.auth_service)

    def channel(self, target: str, own_token: ServiceToken | None = None) -> grpc.aio.Channel:
        """A channel to a service, for stubs (`channels.open_channel`)."""
        channel = open_channel(target, own_token, multiplex=self.settings.rpc_multiplex, tls=self.tls)
        self.closing.push_async_callback(channel.close)
        return channel

    def raw_channel(self, target: str) -> grpc.aio.Channel:
        """A channel to a service without manners (`channels.open_raw_channel`)."""
        channel = open_raw_channel(target, multiplex=self.settings.rpc_multiplex, tls=self.tls)
        self.closing.push_async_callback(channel.close)
        return channel

    async def storage(self, name: str) -> Store:
        """The database of that name. The process is ready while it answers."""
        store = await open_store(self.settings.storage_url, name)
        self.closing.push_async_callback(store.close)
        self._ready["storage"] = store.ping
        if (spans := tracing.active()) is not None:
            from fastcms_common.tracing.stores import traced_store

            return traced_store(store, self.settings.storage_url, spans)
        return store

    async def serve(
        self, services: Sequence[tuple[AddToServer, object]], background: Sequence[Coroutine[Any, Any, None]] = ()
    ) -> None:
        """Serves until SIGTERM or SIGINT, beside `background` and the watch over sessions (`serving.serve`)."""
        watched = [self.sessions.watch(), *background]
        await serve(self.settings, self.name, services, self.authenticator, ready=self._ready, background=watched)

    async def _published_keys(self) -> bytes:
        answer: HttpBody = await KeysServiceStub(self.auth).GetKeySet(GetKeySetRequest())
        return bytes(answer.data)

    async def _redis_answers(self) -> None:
        await self.redis.ping()


async def until_available(work: Callable[[], Awaitable[None]]) -> None:
    """Does `work`, from its beginning again for as long as something that it needs is away. Ends the process where the
    data is not for this release."""
    said = None
    while True:
        try:
            return await work()
        except DataTooNew as error:
            stop(f"STORAGE_URL: {error}")
        except Unavailable as error:
            if error.detail != said:
                log.warning("waiting", error=error.detail)
                said = error.detail
        await asyncio.sleep(_RETRY_SECONDS)


def start(name: str, kind: type[S], main: Callable[[S], Coroutine[Any, Any, None]]) -> None:
    """A process from its beginning to its end: settings of `kind` from the environment, logs, then `main`."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # Until `serve` takes over, nothing has begun that would have to be finished.
        signal.signal(number, lambda *_: os._exit(os.EX_OK))
    settings = load(kind)
    logs.configure(settings, name)
    freeze()
    run(main(settings))


def freeze() -> None:
    """Has the collector never look again at what lives as long as the process.

    To be called before any channel is opened: one that is closed goes on looking for its server until the calls made on
    it have been collected (gRPC 1.76).
    """
    gc.collect()
    gc.freeze()
