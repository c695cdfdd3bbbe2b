"""admin-service: wiring, nothing else."""

from __future__ import annotations

from admin_service.audit_chain import CheckpointKey
from admin_service.audit_events import AuditEvents
from admin_service.audit_servicer import AuditServicer
from admin_service.audit_trail import AuditTrail
from admin_service.config import Settings
from admin_service.impersonations import Impersonations
from admin_service.ip_rules import IpRules
from admin_service.ip_rules_copy import IpRulesCopy
from admin_service.ip_rules_servicer import IpRulesServicer
from admin_service.retention import Retention
from admin_service.runtime_settings import RuntimeSettings
from admin_service.servicer import AdminServicer
from admin_service.settings_categories import categories
from admin_service.settings_servicer import SettingsServicer
from admin_service.store import AdminStore
from admin_service.users_servicer import UsersServicer
from fastcms.admin.v1.admin_pb2_grpc import add_AdminServiceServicer_to_server
from fastcms.admin.v1.audit_pb2_grpc import add_AuditServiceServicer_to_server
from fastcms.admin.v1.ip_rules_pb2_grpc import add_IpRulesServiceServicer_to_server
from fastcms.admin.v1.settings_pb2_grpc import add_SettingsServiceServicer_to_server
from fastcms.admin.v1.users_pb2_grpc import add_UsersServiceServicer_to_server
from fastcms.auth.v1.credentials_pb2_grpc import CredentialsServiceStub
from fastcms.auth.v1.identities_pb2_grpc import IdentitiesServiceStub
from fastcms.auth.v1.settings_pb2_grpc import SettingsServiceStub
from fastcms_common import redis_keys
from fastcms_common.events import EventStream
from fastcms_common.measures import keep_measuring, stream_measure
from fastcms_common.process import Process, start, until_available
from fastcms_common.sealing import Sealer
from fastcms_common.service_tokens import ServiceTokens, service_keys

NAME = "admin-service"


async def main(settings: Settings) -> None:
    keys = service_keys(settings)
    async with Process(settings, NAME) as process:
        redis = process.redis
        store = AdminStore(await process.storage("admin"))
        auth = process.channel(settings.auth_service, ServiceTokens(NAME, keys[0], process.auth).get)
        identities, credentials = IdentitiesServiceStub(auth), CredentialsServiceStub(auth)
        checkpoint_key = CheckpointKey(*keys)
        trail = AuditTrail(store, redis, checkpoint_key)
        process.closing.push_async_callback(trail.close)
        known = categories(settings)
        runtime = RuntimeSettings(store, redis, trail, known, Sealer(*keys))

        async def retention_days() -> int:
            return int((await runtime.values(known["general"]))["audit_retention_days"])

        retention = Retention(store, trail, retention_days)
        rules_copy = IpRulesCopy(store, redis)
        audit = AuditServicer(AuditEvents(store), trail, checkpoint_key, retention)
        events = EventStream(redis, redis_keys.AUDIT_EVENTS)
        await until_available(store.prepare)
        await process.serve(
            [
                (add_AdminServiceServicer_to_server, AdminServicer(Impersonations(identities, trail), identities)),
                (add_AuditServiceServicer_to_server, audit),
                (add_IpRulesServiceServicer_to_server, IpRulesServicer(IpRules(store, rules_copy, trail))),
                (add_UsersServiceServicer_to_server, UsersServicer(identities, credentials, trail)),
                (add_SettingsServiceServicer_to_server, SettingsServicer(runtime, known, SettingsServiceStub(auth))),
            ],
            background=[
                events.consume(trail.store_batch),
                rules_copy.watch(),
                runtime.watch(),
                keep_measuring(stream_measure(redis, redis_keys.AUDIT_EVENTS)),
            ],
        )


if __name__ == "__main__":
    start(NAME, Settings, main)
