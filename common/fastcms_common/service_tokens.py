"""The tokens that services call with where there is no caller: jobs, events, start-up."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable
from pathlib import Path

import grpc.aio

from fastcms.auth.v1 import keys_pb2, keys_pb2_grpc
from fastcms_common.channels import DEADLINE
from fastcms_common.settings import ProcessSettings, stop

# Seconds before its end at which a token is not used any more.
_MARGIN = 30.0


def proof_of(key: bytes, service: str, timestamp: int) -> str:
    """What proves to auth-service that `service` holds the key: hex HMAC-SHA256 (RFC 2104) of name and Unix time."""
    return hmac.new(key, f"{service}:{timestamp}".encode(), hashlib.sha256).hexdigest()


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The keys that all services share, one a line: the first is in force, the others are good still, while it is being
    exchanged. Raises OSError where they cannot be read, ValueError where one is too short."""
    keys = tuple(path.read_bytes().split())
    if not keys or min(map(len, keys)) < 32:
        raise ValueError(f"{path} has to hold at least 32 characters")
    return keys


def read_key(path: Path) -> bytes:
    """The one that is in force."""
    return read_keys(path)[0]


def service_keys(settings: ProcessSettings) -> tuple[bytes, ...]:
    """The keys that SERVICE_KEY_FILE names. Ends the process with one line and exit code 2 where there is none."""
    if settings.service_key_file is None:
        stop("SERVICE_KEY_FILE: is needed")
    try:
        return read_keys(settings.service_key_file)
    except (OSError, ValueError) as error:
        stop(f"SERVICE_KEY_FILE: {error}")


class ServiceTokens:
    """This service's own token, fetched from auth-service and kept until shortly before its end."""

    def __init__(
        self, service: str, key: bytes, auth: grpc.aio.Channel, clock: Callable[[], float] = time.time
    ) -> None:
        self._service = service
        self._key = key
        self._keys = keys_pb2_grpc.KeysServiceStub(auth)
        self._clock = clock
        self._token = ""
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def get(self) -> str:
        """A token that is good for at least half a minute. Raises Unavailable where auth-service cannot be reached."""
        if self._clock() >= self._until:
            async with self._lock:
                if self._clock() >= self._until:
                    await self._fetch()
        return self._token

    async def _fetch(self) -> None:
        now = self._clock()
        answer = await self._keys.IssueServiceToken(
            keys_pb2.IssueServiceTokenRequest(
                service=self._service, timestamp=int(now), proof=proof_of(self._key, self._service, int(now))
            ),
            timeout=DEADLINE,
        )
        self._token = answer.access_token
        self._until = now + answer.expires_in - _MARGIN
