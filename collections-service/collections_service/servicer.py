"""Message in, message out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc.aio
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty

from collections_service.answers import Answer, Shown
from collections_service.bulk import Bulk
from collections_service.catalog import Catalog
from collections_service.explanations import Explanations, Question
from collections_service.lists import PER_PAGE, Listing, Lists
from collections_service.messages import change_draft, collection_message, create_draft
from collections_service.models import RULES, Collection
from collections_service.policy import Session
from collections_service.profiles import Profiles
from collections_service.records import Records
from collections_service.rendering import to_json
from collections_service.schemas import Schemas
from collections_service.transfers import MEDIA_TYPES, Format, Transfers, format_of
from fastcms.collections.v1 import collections_pb2 as pb
from fastcms.collections.v1 import profiles_pb2, records_pb2
from fastcms.collections.v1.collections_pb2_grpc import CollectionsServiceServicer
from fastcms.collections.v1.profiles_pb2_grpc import ProfilesServiceServicer
from fastcms.collections.v1.records_pb2_grpc import RecordsServiceServicer
from fastcms_common.errors import Malformed, NotFound

Context = grpc.aio.ServicerContext[Any, Any]
# Collections on one page where nothing is said.
COLLECTIONS_PER_PAGE = 100


class CollectionsServicer(CollectionsServiceServicer):
    """`fastcms.collections.v1.CollectionsService`."""

    def __init__(self, schemas: Schemas, explanations: Explanations) -> None:
        self._schemas = schemas
        self._explanations = explanations

    async def CreateCollection(self, request: pb.CreateCollectionRequest, context: Context) -> pb.Collection:
        collection = await self._schemas.create("auth" if request.type == "auth" else "base", create_draft(request))
        return await self._message(collection)

    async def ListCollections(self, request: pb.ListCollectionsRequest, context: Context) -> pb.ListCollectionsResponse:
        snapshot = await self._schemas.snapshot()
        collections = sorted(snapshot.all(), key=lambda collection: collection.name)
        page = request.page if request.HasField("page") else 1
        per_page = request.per_page if request.HasField("per_page") else COLLECTIONS_PER_PAGE
        shown = collections[(page - 1) * per_page : page * per_page]
        return pb.ListCollectionsResponse(
            items=[collection_message(collection, snapshot) for collection in shown],
            total=len(collections),
            page=page,
            per_page=per_page,
            total_pages=-(-len(collections) // per_page),
        )

    async def GetCollection(self, request: pb.GetCollectionRequest, context: Context) -> pb.Collection:
        return await self._message((await self._schemas.snapshot()).find(request.id))

    async def GetCollectionByName(self, request: pb.GetCollectionByNameRequest, context: Context) -> pb.Collection:
        found = (await self._schemas.snapshot()).named(request.name)
        if found is None:
            raise NotFound("There is no such collection.", reason="COLLECTION_NOT_FOUND")
        return await self._message(found)

    async def UpdateCollection(self, request: pb.UpdateCollectionRequest, context: Context) -> pb.Collection:
        return await self._message(await self._schemas.change(request.id, change_draft(request)))

    async def DeleteCollection(self, request: pb.DeleteCollectionRequest, context: Context) -> Empty:
        await self._schemas.delete(request.id)
        return Empty()

    async def TruncateCollection(
        self, request: pb.TruncateCollectionRequest, context: Context
    ) -> pb.TruncateCollectionResponse:
        collection, deleted = await self._schemas.truncate(request.name, cascade=request.cascade)
        return pb.TruncateCollectionResponse(deleted_count=deleted, collection=collection.name)

    async def ExplainRule(self, request: pb.ExplainRuleRequest, context: Context) -> HttpBody:
        question = Question(
            rule=next((rule for rule in RULES if rule == request.rule), "list"),
            expression=request.expression if request.HasField("expression") else None,
            filter=request.filter,
            as_user=request.as_user or None,
            record=request.record or None,
        )
        return _json(await self._explanations.explain(request.collection, question))

    async def _message(self, collection: Collection) -> pb.Collection:
        return collection_message(collection, await self._schemas.snapshot())


class RecordsServicer(RecordsServiceServicer):
    """`fastcms.collections.v1.RecordsService`."""

    def __init__(self, catalog: Catalog, records: Records, lists: Lists, bulk: Bulk, transfers: Transfers) -> None:
        self._catalog = catalog
        self._lists = lists
        self._records = records
        self._bulk = bulk
        self._transfers = transfers

    async def CreateRecord(self, request: records_pb2.CreateRecordRequest, context: Context) -> HttpBody:
        async def work() -> Answer:
            opened = await self._open(request.collection, "POST", request.query)
            return await self._records.create(*opened, request.body.data, _shown(request))

        return _body(await self._catalog.with_schema(work), context)

    async def ListRecords(self, request: records_pb2.ListRecordsRequest, context: Context) -> HttpBody:
        asked = Listing(
            page=request.page if request.HasField("page") else 1,
            per_page=request.per_page if request.HasField("per_page") else PER_PAGE,
            filter=request.filter,
            sort=request.sort,
            skip_total=request.skip_total,
            cursor=request.cursor,
        )

        async def work() -> Answer:
            opened = await self._open(request.collection, "GET", request.query)
            return await self._lists.page(*opened, asked, _shown(request))

        return _body(await self._catalog.with_schema(work), context)

    async def GetRecord(self, request: records_pb2.GetRecordRequest, context: Context) -> HttpBody:
        async def work() -> Answer:
            opened = await self._open(request.collection, "GET", request.query)
            return await self._records.get(*opened, request.id, _shown(request))

        return _body(await self._catalog.with_schema(work), context)

    async def UpdateRecord(self, request: records_pb2.UpdateRecordRequest, context: Context) -> HttpBody:
        async def work() -> Answer:
            opened = await self._open(request.collection, "PATCH", request.query)
            return await self._records.change(*opened, request.id, request.body.data, request.if_match, _shown(request))

        return _body(await self._catalog.with_schema(work), context)

    async def DeleteRecord(self, request: records_pb2.DeleteRecordRequest, context: Context) -> Empty:
        async def work() -> None:
            opened = await self._open(request.collection, "DELETE", request.query)
            await self._records.delete(*opened, request.id, request.if_match)

        await self._catalog.with_schema(work)
        return Empty()

    async def BatchCreateRecords(self, request: records_pb2.BatchCreateRecordsRequest, context: Context) -> HttpBody:
        return await self._many(request, "POST", self._bulk.create)

    async def BulkUpdateRecords(self, request: records_pb2.BulkUpdateRecordsRequest, context: Context) -> HttpBody:
        return await self._many(request, "PATCH", self._bulk.update)

    async def BulkDeleteRecords(self, request: records_pb2.BulkDeleteRecordsRequest, context: Context) -> HttpBody:
        return await self._many(request, "DELETE", self._bulk.delete)

    async def UpsertRecords(self, request: records_pb2.UpsertRecordsRequest, context: Context) -> HttpBody:
        return await self._many(request, "POST", self._bulk.upsert)

    async def _many(self, request: Any, method: str, work: Callable[..., Awaitable[Any]]) -> HttpBody:
        async def call() -> Any:
            opened = await self._open(request.collection, method, request.query)
            return await work(*opened, request.body.data, atomic=request.atomic)

        return _json(await self._catalog.with_schema(call))

    async def ExportRecords(
        self, request: records_pb2.ExportRecordsRequest, context: Context
    ) -> AsyncIterator[HttpBody]:
        form: Format = "csv" if request.format == "csv" else "ndjson"
        opened = await self._open(request.collection, "GET", request.query)
        async for piece in self._transfers.export(*opened, form, request.filter):
            yield HttpBody(content_type=MEDIA_TYPES[form], data=piece)

    async def ImportRecords(
        self, request_iterator: AsyncIterator[records_pb2.ImportRecordsRequest], context: Context
    ) -> AsyncIterator[HttpBody]:
        first = await anext(aiter(request_iterator), None)
        if first is None:
            raise Malformed("The request is empty.")
        form = format_of(first.body.content_type)
        opened = await self._open(first.collection, "POST", {})

        async def pieces() -> AsyncIterator[bytes]:
            yield first.body.data
            async for message in request_iterator:
                yield message.body.data

        last: dict[str, Any] = {}
        async for last in self._transfers.take(*opened, form, pieces()):
            if first.progress:
                yield HttpBody(content_type=MEDIA_TYPES["ndjson"], data=to_json(last) + b"\n")
        if not first.progress:
            yield _json(last)

    async def _open(self, name: str, method: str, query: Mapping[str, str]) -> tuple[Collection, Session]:
        return await self._records.open(name, method, dict(query))


def _shown(request: Any) -> Shown:
    return Shown(expand=request.expand, fields=request.fields)


def _body(answer: Answer, context: Context) -> HttpBody:
    if answer.etag is not None:
        context.set_trailing_metadata((("etag", answer.etag),))
    return _json(answer.body)


def _json(body: Any) -> HttpBody:
    return HttpBody(content_type="application/json", data=to_json(body))


class ProfilesServicer(ProfilesServiceServicer):
    """`fastcms.collections.v1.ProfilesService`."""

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles

    async def ResolveRealm(self, request: profiles_pb2.ResolveRealmRequest, context: Context) -> profiles_pb2.Realm:
        realm = await self._profiles.realm(request.collection)
        return profiles_pb2.Realm(id=realm.id, name=realm.name, auth_options=to_json(realm.options.get("auth") or {}))

    async def CreateProfile(self, request: profiles_pb2.CreateProfileRequest, context: Context) -> profiles_pb2.Profile:
        record = await self._profiles.create(
            request.collection,
            request.id,
            request.email,
            request.verified,
            request.data,
            sees_hidden=request.by_admin,
        )
        return _profile(record)

    async def GetProfile(self, request: profiles_pb2.GetProfileRequest, context: Context) -> profiles_pb2.Profile:
        return _profile(await self._profiles.get(request.collection, request.id))

    async def UpdateProfile(self, request: profiles_pb2.UpdateProfileRequest, context: Context) -> profiles_pb2.Profile:
        email = request.email if request.HasField("email") else None
        verified = request.verified if request.HasField("verified") else None
        return _profile(await self._profiles.change(request.collection, request.id, email, verified))

    async def DeleteProfile(self, request: profiles_pb2.DeleteProfileRequest, context: Context) -> Empty:
        await self._profiles.delete(request.collection, request.id)
        return Empty()

    async def FindNamedProfile(
        self, request: profiles_pb2.FindNamedProfileRequest, context: Context
    ) -> profiles_pb2.FindNamedProfileResponse:
        found = await self._profiles.named(request.collection, request.value)
        return profiles_pb2.FindNamedProfileResponse(id=found or "")

    async def FindProfiles(
        self, request: profiles_pb2.FindProfilesRequest, context: Context
    ) -> profiles_pb2.FindProfilesResponse:
        ids = await self._profiles.existing(request.collection, list(request.ids))
        return profiles_pb2.FindProfilesResponse(ids=ids)


def _profile(record: dict[str, Any]) -> profiles_pb2.Profile:
    return profiles_pb2.Profile(id=record["id"], record=to_json(record))
