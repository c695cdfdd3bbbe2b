"""What collections-service has of auth-service: the key set, on a real port, and tokens signed with its key."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.api.httpbody_pb2 import HttpBody
from redis.asyncio import Redis

from fastcms.auth.v1 import keys_pb2_grpc
from fastcms_common import redis_keys
from fastcms_common.ids import new_id
from tests.ports import free_port


class Keys(keys_pb2_grpc.KeysServiceServicer):
    """One signing key."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()

    async def GetKeySet(self, request: Any, context: Any) -> HttpBody:
        raw = self._private.public_key().public_bytes_raw()
        x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        return HttpBody(data=orjson.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]}))

    async def token(self, redis: Redis, id: str | None = None, **claims: object) -> str:
        """An access token with a live session; by default of a built-in user."""
        now, sid = int(time.time()), new_id()
        body = {"iss": "fastcms", "aud": "fastcms", "sub": id or new_id(), "iat": now, "exp": now + 3600, "jti": sid}
        body |= {"role": "user", "col": "users"} | claims
        if body["role"] != "service":
            body["sid"] = sid
            await redis.hset(redis_keys.session(sid), mapping={"alive": "1"})
        return jwt.encode(body, self._private, algorithm="EdDSA", headers={"kid": "k", "typ": "at+jwt"})


@asynccontextmanager
async def serving(keys: Keys) -> AsyncIterator[str]:
    """The address at which the keys are served."""
    server = grpc.aio.server()
    keys_pb2_grpc.add_KeysServiceServicer_to_server(keys, server)
    address = f"127.0.0.1:{free_port()}"
    server.add_insecure_port(address)
    await server.start()
    try:
        yield address
    finally:
        await server.stop(None)
