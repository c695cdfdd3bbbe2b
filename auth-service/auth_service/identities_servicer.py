"""IdentitiesService and KeysService: message in, message out."""

from __future__ import annotations

from typing import Any

from google.api.httpbody_pb2 import HttpBody

from auth_service import messages
from auth_service.access_tokens import SERVICE_TOKEN_SECONDS, AccessTokens
from auth_service.cleanup import Cleanup
from auth_service.identities import Identities
from auth_service.impersonations import Impersonations
from auth_service.keys import SigningKeys
from fastcms.auth.v1 import identities_pb2, identities_pb2_grpc, keys_pb2, keys_pb2_grpc
from fastcms_common import times
from fastcms_common.errors import Invalid

# Seconds. Contract, section 4.
MIN_DURATION, MAX_DURATION = 60, 86_400


class IdentitiesServicer(identities_pb2_grpc.IdentitiesServiceServicer):
    """What other services ask about accounts and do to them."""

    def __init__(self, identities: Identities, impersonations: Impersonations, cleanup: Cleanup) -> None:
        self._identities = identities
        self._impersonations = impersonations
        self._cleanup = cleanup

    async def GetIdentity(self, request: identities_pb2.GetIdentityRequest, context: Any) -> identities_pb2.Identity:
        return messages.identity(await self._identities.get(request.id))

    async def GetLockStatus(
        self, request: identities_pb2.GetLockStatusRequest, context: Any
    ) -> identities_pb2.LockStatus:
        return messages.lock_status(await self._identities.get(request.id))

    async def UnlockIdentity(
        self, request: identities_pb2.UnlockIdentityRequest, context: Any
    ) -> identities_pb2.Identity:
        return messages.identity(await self._identities.unlock(request.id))

    async def StartImpersonation(
        self, request: identities_pb2.StartImpersonationRequest, context: Any
    ) -> identities_pb2.StartImpersonationResponse:
        if not MIN_DURATION <= request.duration <= MAX_DURATION:
            raise Invalid.field("duration", f"must be from {MIN_DURATION} to {MAX_DURATION} seconds")
        reason = request.reason if request.HasField("reason") else None
        started = await self._impersonations.start(request.actor_token, request.target_id, request.duration, reason)
        return identities_pb2.StartImpersonationResponse(
            access_token=started.access_token,
            session_id=started.grant.id,
            target=messages.identity(await self._identities.get(started.target.id)),
            actor_id=started.grant.actor_id,
            actor_email=started.grant.actor_email,
            expires=messages.timestamp(times.from_text(started.grant.expires)),
        )

    async def EndImpersonation(
        self, request: identities_pb2.EndImpersonationRequest, context: Any
    ) -> identities_pb2.EndImpersonationResponse:
        ended = await self._impersonations.end(request.token)
        return identities_pb2.EndImpersonationResponse(grants=[messages.grant(one) for one in ended])

    async def DeleteExpiredTokens(
        self, request: identities_pb2.DeleteExpiredTokensRequest, context: Any
    ) -> identities_pb2.DeleteExpiredTokensResponse:
        deleted = await self._cleanup.delete_expired(request.fencing_token)
        return identities_pb2.DeleteExpiredTokensResponse(deleted=deleted)


class KeysServicer(keys_pb2_grpc.KeysServiceServicer):
    """Public keys, and the tokens of services."""

    def __init__(self, keys: SigningKeys, tokens: AccessTokens) -> None:
        self._keys = keys
        self._tokens = tokens

    async def GetKeySet(self, request: keys_pb2.GetKeySetRequest, context: Any) -> HttpBody:
        return HttpBody(content_type="application/jwk-set+json", data=await self._keys.key_set())

    async def IssueServiceToken(
        self, request: keys_pb2.IssueServiceTokenRequest, context: Any
    ) -> keys_pb2.IssueServiceTokenResponse:
        token = self._tokens.for_service(request.service, request.timestamp, request.proof)
        return keys_pb2.IssueServiceTokenResponse(access_token=token, expires_in=SERVICE_TOKEN_SECONDS)
