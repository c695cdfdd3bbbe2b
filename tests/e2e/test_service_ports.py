"""The services' own ports, reached directly: without a good token they answer nothing but health."""

from __future__ import annotations

import time

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fastcms.common.v1.options_pb2 import Access
from tests.routes import rpcs
from tests.suite import Suite

SERVICES = ("auth-service", "collections-service", "admin-service", "scheduler-service")
GUARDED = (Access.CALLER_AUTHENTICATED, Access.CALLER_ADMIN, Access.CALLER_SUPERADMIN, Access.CALLER_SERVICE)


def forged() -> str:
    """A token that says all the right things, signed by nobody we know."""
    now = int(time.time())
    claims = {"iss": "fastcms", "aud": "fastcms", "sub": "service:gateway", "iat": now, "exp": now + 600, "jti": "j"}
    headers = {"typ": "at+jwt", "kid": "forged"}
    return jwt.encode(claims | {"role": "service"}, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers=headers)


@pytest.mark.parametrize("bearer", [None, "", "nonsense", forged()], ids=["none", "empty", "nonsense", "forged"])
@pytest.mark.parametrize("service", SERVICES)
def test_a_port_opens_to_no_bad_token(suite: Suite, service: str, bearer: str | None):
    metadata = () if bearer is None else (("authorization", f"Bearer {bearer}"),)
    package = f"fastcms.{service.removesuffix('-service')}."
    tried = 0
    with grpc.insecure_channel(suite.address(service)) as channel:
        for method, access in rpcs():
            if not method.full_name.startswith(package) or access.caller not in GUARDED:
                continue
            tried += 1
            path = f"/{method.containing_service.full_name}/{method.name}"
            response = GetMessageClass(method.output_type).FromString
            request = GetMessageClass(method.input_type)()
            with pytest.raises(grpc.RpcError) as caught:
                call(channel, method, path, response, request, metadata)
            code = caught.value.code()  # type: ignore[attr-defined]
            assert code is grpc.StatusCode.UNAUTHENTICATED, f"{path}: {code}"
    assert tried > 0


def call(channel: grpc.Channel, method, path: str, response, request: Message, metadata) -> None:
    kind = ("stream" if method.client_streaming else "unary", "stream" if method.server_streaming else "unary")
    opened = getattr(channel, "_".join(kind))(path, type(request).SerializeToString, response)
    answer = opened(iter([request]) if method.client_streaming else request, metadata=metadata, timeout=10)
    if method.server_streaming:
        list(answer)


@pytest.mark.parametrize("service", SERVICES)
def test_health_is_open_and_reflection_is_not(suite: Suite, service: str):
    with grpc.insecure_channel(suite.address(service)) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="ready"), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        with pytest.raises(grpc.RpcError) as caught:
            list(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([question]), timeout=10))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]
