"""collections-service as auth-service sees it: ProfilesService on a real port, with records in memory.

It keeps the promises of profiles.proto, and can be told to fail as a network or a process does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import jwt
import orjson
from google.protobuf.empty_pb2 import Empty

from fastcms.collections.v1 import profiles_pb2, profiles_pb2_grpc
from fastcms_common.errors import Conflict, DomainError, FieldError, Invalid, NotFound
from fastcms_common.ids import new_id
from fastcms_common.wire import DETAILS, status_of
from tests.ports import free_port

# What the members of every collection here may have of their own.
FIELDS = ("company", "phone", "points", "email_visibility")


class Collections(profiles_pb2_grpc.ProfilesServiceServicer):
    """Auth collections by name, and their records."""

    def __init__(self, *names: str) -> None:
        self.realms = {name: new_id() for name in names}
        self.options: dict[str, Any] = {}
        self.records: dict[tuple[str, str], dict[str, Any]] = {}
        # Called before and after an rpc does its work; what they raise is the answer.
        self.before: Callable[[str, Any], None] = lambda rpc, request: None
        self.after: Callable[[str, Any], None] = lambda rpc, request: None

    async def ResolveRealm(self, request, context):
        return await self._serve(context, "ResolveRealm", request, self._resolve)

    async def CreateProfile(self, request, context):
        return await self._serve(context, "CreateProfile", request, self._create)

    async def GetProfile(self, request, context):
        return await self._serve(context, "GetProfile", request, self._get)

    async def UpdateProfile(self, request, context):
        return await self._serve(context, "UpdateProfile", request, self._update)

    async def DeleteProfile(self, request, context):
        return await self._serve(context, "DeleteProfile", request, self._delete)

    async def FindNamedProfile(self, request, context):
        return await self._serve(context, "FindNamedProfile", request, self._find_named)

    async def FindProfiles(self, request, context):
        return await self._serve(context, "FindProfiles", request, self._find)

    async def _serve(self, context, rpc, request, work):
        authorization = dict(context.invocation_metadata()).get("authorization", "")
        claims = jwt.decode(authorization.removeprefix("Bearer "), options={"verify_signature": False})
        assert claims["sub"] == "service:auth-service"
        try:
            self.before(rpc, request)
            answer = work(request)
            self.after(rpc, request)
        except DomainError as error:
            details = ((DETAILS, status_of(error).SerializeToString()),)
            await context.abort(error.code, error.detail, trailing_metadata=details)
        return answer

    def _resolve(self, request):
        for name, id_ in self.realms.items():
            if request.collection in (name, id_):
                options = orjson.dumps(self.options.get(name, {}))
                return profiles_pb2.Realm(id=id_, name=name, auth_options=options)
        raise NotFound("There is no such collection.", reason="COLLECTION_NOT_FOUND")

    def _create(self, request):
        unknown = [name for name in orjson.loads(request.data or b"{}") if name not in FIELDS]
        if unknown:
            raise Invalid([FieldError(name, "Is not a known field.") for name in unknown])
        record = {"id": request.id, "email": request.email, "verified": request.verified}
        record |= orjson.loads(request.data or b"{}")
        return self._profile(self.records.setdefault((request.collection, request.id), record))

    def _get(self, request):
        record = self.records.get((request.collection, request.id))
        if record is None:
            raise NotFound("There is no such record.")
        return self._profile(record)

    def _update(self, request):
        record = self.records.get((request.collection, request.id))
        if record is None:
            raise NotFound("There is no such record.")
        if request.HasField("email"):
            record["email"] = request.email
        if request.HasField("verified"):
            record["verified"] = request.verified
        return self._profile(record)

    def _delete(self, request):
        record = self.records.get((request.collection, request.id))
        if record is not None and record.get("company") == "pinned":
            raise Conflict("Records of orders point to it.", reason="RECORD_REFERENCED")
        self.records.pop((request.collection, request.id), None)
        return Empty()

    def _find(self, request):
        return profiles_pb2.FindProfilesResponse(
            ids=[one for one in request.ids if (request.collection, one) in self.records]
        )

    def _find_named(self, request):
        name = {id_: name for name, id_ in self.realms.items()}[request.collection]
        field = self.options[name]["identity_field"]
        found = [
            one for (realm, one), record in self.records.items()
            if realm == request.collection and record.get(field) == request.value
        ]  # fmt: skip
        return profiles_pb2.FindNamedProfileResponse(id=found[0] if found else "")

    @staticmethod
    def _profile(record):
        return profiles_pb2.Profile(id=record["id"], record=orjson.dumps(record))

    def emails(self) -> list[str]:
        """The e-mails of all records."""
        return sorted(record["email"] for record in self.records.values())


@asynccontextmanager
async def serving(collections: Collections, address: str | None = None) -> AsyncIterator[str]:
    """Serves on a port until the block ends; gives its address."""
    address = address or f"127.0.0.1:{free_port()}"
    server = grpc.aio.server()
    profiles_pb2_grpc.add_ProfilesServiceServicer_to_server(collections, server)
    server.add_insecure_port(address)
    await server.start()
    try:
        yield address
    finally:
        await server.stop(0)
