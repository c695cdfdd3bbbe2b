"""collections-service: wiring, nothing else."""

from __future__ import annotations

import asyncio

from google.api.httpbody_pb2 import HttpBody

from collections_service.bulk import Bulk
from collections_service.catalog import Catalog
from collections_service.config import NAME, Settings
from collections_service.events import CollectionEvents
from collections_service.explanations import Explanations
from collections_service.journal import Journal
from collections_service.lists import Lists
from collections_service.profiles import Profiles
from collections_service.records import Records
from collections_service.relations import Relations
from collections_service.schemas import Schemas
from collections_service.servicer import CollectionsServicer, ProfilesServicer, RecordsServicer
from collections_service.store import CollectionStore
from collections_service.transfers import Transfers
from fastcms.auth.v1.keys_pb2 import GetKeySetRequest
from fastcms.auth.v1.keys_pb2_grpc import KeysServiceStub
from fastcms.collections.v1.collections_pb2_grpc import add_CollectionsServiceServicer_to_server
from fastcms.collections.v1.profiles_pb2_grpc import add_ProfilesServiceServicer_to_server
from fastcms.collections.v1.records_pb2_grpc import add_RecordsServiceServicer_to_server
from fastcms_common import logs
from fastcms_common.access import Authenticator
from fastcms_common.audit import AuditLog
from fastcms_common.channels import open_channel
from fastcms_common.errors import Unavailable
from fastcms_common.redis_connection import connect
from fastcms_common.serving import run, serve
from fastcms_common.sessions import SessionGuard
from fastcms_common.settings import load
from fastcms_common.storage import open_store
from fastcms_common.tokens import TokenVerifier

_RETRY_SECONDS = 0.5

log = logs.get_logger(__name__)


async def main(settings: Settings) -> None:
    redis = connect(settings.redis_url)
    store = CollectionStore(await open_store(settings.storage_url, "collections"))
    auth = open_channel(settings.auth_service, multiplex=settings.rpc_multiplex)
    keys, guard = KeysServiceStub(auth), SessionGuard(redis)
    catalog = Catalog(store, redis)
    events = CollectionEvents(redis)
    relations = Relations(store, events)
    audit = AuditLog(redis)
    schemas = Schemas(store, catalog, relations, events, audit)
    journal = Journal(store, catalog, relations, events)
    records = Records(store, catalog, relations, events, journal)
    lists = Lists(store)
    bulk = Bulk(records, store, journal)
    transfers = Transfers(records, lists, bulk, store, audit)
    profiles = Profiles(store, catalog, relations)

    async def key_set() -> bytes:
        answer: HttpBody = await keys.GetKeySet(GetKeySetRequest())
        return bytes(answer.data)

    verifier = TokenVerifier(key_set, settings.token_issuer)

    async def redis_answers() -> None:
        await redis.ping()

    try:
        await _prepare(store)
        await serve(
            settings,
            NAME,
            [
                (
                    add_CollectionsServiceServicer_to_server,
                    CollectionsServicer(schemas, Explanations(store, catalog, lists)),
                ),
                (add_RecordsServiceServicer_to_server, RecordsServicer(records, lists, bulk, transfers)),
                (add_ProfilesServiceServicer_to_server, ProfilesServicer(profiles)),
            ],
            Authenticator(verifier, guard),
            ready={"redis": redis_answers, "storage": store.ping, "keys": verifier.ready},
            background=[guard.watch(), catalog.watch(), journal.keep_tidy()],
        )
    finally:
        await auth.close()
        await store.close()
        await redis.aclose()


async def _prepare(store: CollectionStore) -> None:
    """Makes the tables; waits for storage as long as it takes."""
    while True:
        try:
            return await store.prepare()
        except Unavailable as error:
            log.warning("waiting", error=error.detail)
            await asyncio.sleep(_RETRY_SECONDS)


if __name__ == "__main__":
    process_settings = load(Settings)
    logs.configure(process_settings, NAME)
    run(main(process_settings))
