"""collections-service: wiring, nothing else."""

from __future__ import annotations

from collections_service.bulk import Bulk
from collections_service.catalog import Catalog
from collections_service.config import NAME, Settings
from collections_service.events import CollectionEvents
from collections_service.explanations import Explanations
from collections_service.jobs import Jobs
from collections_service.jobs_servicer import JobsServicer
from collections_service.journal import Journal
from collections_service.lists import Lists
from collections_service.profiles import Profiles
from collections_service.records import Records
from collections_service.relations import Relations
from collections_service.schemas import Schemas
from collections_service.servicer import CollectionsServicer, ProfilesServicer, RecordsServicer
from collections_service.store import CollectionStore
from collections_service.transfers import Transfers
from fastcms.collections.v1.collections_pb2_grpc import add_CollectionsServiceServicer_to_server
from fastcms.collections.v1.jobs_pb2_grpc import add_JobsServiceServicer_to_server
from fastcms.collections.v1.profiles_pb2_grpc import add_ProfilesServiceServicer_to_server
from fastcms.collections.v1.records_pb2_grpc import add_RecordsServiceServicer_to_server
from fastcms_common.process import Process, start, until_available


async def main(settings: Settings) -> None:
    async with Process(settings, NAME) as process:
        store = CollectionStore(await process.storage("collections"))
        catalog = Catalog(store, process.redis)
        events = CollectionEvents(process.redis)
        relations = Relations(store, events)
        journal = Journal(store, catalog, relations, events)
        schemas = Schemas(store, catalog, relations, events, journal, process.audit)
        records = Records(store, catalog, relations, events, journal)
        lists = Lists(store)
        bulk = Bulk(records, store, relations, journal)
        transfers = Transfers(catalog, records, lists, bulk, store, process.audit)
        collections = CollectionsServicer(schemas, Explanations(store, catalog, lists))
        profiles = ProfilesServicer(Profiles(store, catalog, relations))
        await until_available(store.prepare)
        await process.serve(
            [
                (add_CollectionsServiceServicer_to_server, collections),
                (add_RecordsServiceServicer_to_server, RecordsServicer(catalog, records, lists, bulk, transfers)),
                (add_ProfilesServiceServicer_to_server, profiles),
                (add_JobsServiceServicer_to_server, JobsServicer(Jobs(store, schemas))),
            ],
            background=[catalog.watch(), journal.keep_tidy()],
        )


if __name__ == "__main__":
    start(NAME, Settings, main)
