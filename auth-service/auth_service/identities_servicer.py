"""IdentitiesService and KeysService: message in, message out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty

from auth_service import messages
from auth_service.access_tokens import SERVICE_TOKEN_SECONDS, AccessTokens
from auth_service.administration import CHANGEABLE, Administration, NewAccount
from auth_service.identities import Filters, Identities
from auth_service.impersonations import Impersonations
from auth_service.jobs import Jobs
from auth_service.keys import SigningKeys
from fastcms.auth.v1 import identities_pb2, identities_pb2_grpc, keys_pb2, keys_pb2_grpc
from fastcms_common import times
from fastcms_common.context import current
from fastcms_common.errors import FieldError, Invalid

DEFAULT_PAGE = 20
# Seconds. Contract, section 4.
MIN_DURATION, MAX_DURATION = 60, 86_400


class IdentitiesServicer(identities_pb2_grpc.IdentitiesServiceServicer):
    """What other services ask about accounts and do to them."""

    def __init__(
        self, identities: Identities, administration: Administration, impersonations: Impersonations, jobs: Jobs
    ) -> None:
        self._identities = identities
        self._impersonations = impersonations
        self._administration = administration
        self._jobs = jobs

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

    async def ListIdentities(
        self, request: identities_pb2.ListIdentitiesRequest, context: Any
    ) -> identities_pb2.ListIdentitiesResponse:
        page, per_page = request.page or 1, request.per_page or DEFAULT_PAGE
        realm = await self._administration.realm(request.collection) if request.collection else None
        verified = request.verified if request.HasField("verified") else None
        filters = Filters(request.search, request.role, verified)
        found = await self._identities.page(realm, filters, request.sort, page, per_page)
        return identities_pb2.ListIdentitiesResponse(
            items=[messages.identity(one) for one in found.accounts],
            total=found.total,
            page=page,
            per_page=per_page,
            total_pages=-(-found.total // per_page),
        )

    async def CreateIdentity(
        self, request: identities_pb2.CreateIdentityRequest, context: Any
    ) -> identities_pb2.Identity:
        new = NewAccount(
            email=request.email,
            password=request.password,
            name=request.name if request.HasField("name") else None,
            role="admin" if request.role == "admin" else "user",
            superadmin=request.superadmin,
            verified=request.verified,
            collection=request.collection,
            data=request.data,
        )
        return messages.identity(await self._administration.create(new))

    async def UpdateIdentity(
        self, request: identities_pb2.UpdateIdentityRequest, context: Any
    ) -> identities_pb2.Identity:
        unknown = [name for name in request.update_mask.paths if name not in CHANGEABLE]
        if unknown:
            raise Invalid([FieldError(name, "Cannot be changed.") for name in unknown])
        wanted = {
            name: getattr(request, name) if request.HasField(name) else None  # type: ignore[arg-type]
            for name in request.update_mask.paths
        }
        return messages.identity(await self._administration.update(request.id, wanted))

    async def DeleteIdentity(self, request: identities_pb2.DeleteIdentityRequest, context: Any) -> Empty:
        await self._administration.delete(request.id)
        return Empty()

    async def DisableIdentity(
        self, request: identities_pb2.DisableIdentityRequest, context: Any
    ) -> identities_pb2.Identity:
        return messages.identity(await self._administration.disable(request.id))

    async def EnableIdentity(
        self, request: identities_pb2.EnableIdentityRequest, context: Any
    ) -> identities_pb2.Identity:
        return messages.identity(await self._administration.enable(request.id))

    async def ListIdentitySessions(
        self, request: identities_pb2.ListIdentitySessionsRequest, context: Any
    ) -> identities_pb2.ListIdentitySessionsResponse:
        found = await self._administration.sessions(request.id)
        caller = current().caller
        own = caller.session_id if caller is not None else None
        return identities_pb2.ListIdentitySessionsResponse(sessions=[messages.session(one, own) for one in found])

    async def RevokeIdentitySession(self, request: identities_pb2.RevokeIdentitySessionRequest, context: Any) -> Empty:
        await self._administration.revoke_session(request.id, request.session_id)
        return Empty()

    async def RevokeIdentitySessions(
        self, request: identities_pb2.RevokeIdentitySessionsRequest, context: Any
    ) -> identities_pb2.RevokeIdentitySessionsResponse:
        revoked = await self._administration.revoke_sessions(request.id)
        return identities_pb2.RevokeIdentitySessionsResponse(revoked=revoked)

    async def ReconcileIdentities(
        self, request: identities_pb2.ReconcileIdentitiesRequest, context: Any
    ) -> identities_pb2.ReconcileIdentitiesResponse:
        done = await self._jobs.reconcile(request.fencing_token)
        return identities_pb2.ReconcileIdentitiesResponse(
            undone=done.undone, removed=done.removed, updated=done.updated
        )

    async def SendPendingMail(
        self, request: identities_pb2.SendPendingMailRequest, context: Any
    ) -> identities_pb2.SendPendingMailResponse:
        sent, failed = await self._jobs.send_mail(request.fencing_token)
        return identities_pb2.SendPendingMailResponse(sent=sent, failed=failed)

    async def DeleteExpiredTokens(
        self, request: identities_pb2.DeleteExpiredTokensRequest, context: Any
    ) -> identities_pb2.DeleteExpiredTokensResponse:
        deleted = await self._jobs.delete_expired(request.fencing_token)
        return identities_pb2.DeleteExpiredTokensResponse(deleted=deleted)


class KeysServicer(keys_pb2_grpc.KeysServiceServicer):
    """Public keys, and the tokens of services."""

    def __init__(self, keys: SigningKeys, tokens: AccessTokens, jobs: Jobs) -> None:
        self._keys = keys
        self._jobs = jobs
        self._tokens = tokens

    async def GetKeySet(self, request: keys_pb2.GetKeySetRequest, context: Any) -> HttpBody:
        return HttpBody(content_type="application/jwk-set+json", data=await self._keys.key_set())

    async def RotateSigningKeys(
        self, request: keys_pb2.RotateSigningKeysRequest, context: Any
    ) -> keys_pb2.RotateSigningKeysResponse:
        older_than = timedelta(seconds=request.older_than)
        kid, withdrawn = await self._jobs.rotate_keys(request.fencing_token, older_than)
        return keys_pb2.RotateSigningKeysResponse(kid=kid, withdrawn=withdrawn)

    async def IssueServiceToken(
        self, request: keys_pb2.IssueServiceTokenRequest, context: Any
    ) -> keys_pb2.IssueServiceTokenResponse:
        token = self._tokens.for_service(request.service, request.timestamp, request.proof)
        return keys_pb2.IssueServiceTokenResponse(access_token=token, expires_in=SERVICE_TOKEN_SECONDS)
