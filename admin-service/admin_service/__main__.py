"""admin-service: wiring, nothing else."""

from __future__ import annotations

import asyncio

from google.api.httpbody_pb2 import HttpBody

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
from fastcms.auth.v1.keys_pb2 import GetKeySetRequest
from fastcms.auth.v1.keys_pb2_grpc import KeysServiceStub
from fastcms.auth.v1.settings_pb2_grpc import SettingsServiceStub
from fastcms_common import logs, redis_keys
from fastcms_common.access import Authenticator
from fastcms_common.channels import open_channel
from fastcms_common.errors import Unavailable
from fastcms_common.events import EventStream
from fastcms_common.redis_connection import connect
from fastcms_common.sealing import Sealer
from fastcms_common.service_tokens import ServiceTokens, read_key
from fastcms_common.serving import run, serve
from fastcms_common.sessions import SessionGuard
from fastcms_common.settings import load, stop
from fastcms_common.storage import open_store
from fastcms_common.tokens import TokenVerifier

NAME = "admin-service"
_RETRY_SECONDS = 0.5

log = logs.get_logger(__name__)


async def main(settings: Settings) -> None:
    try:
        service_key = read_key(settings.service_key_file)
    except (OSError, ValueError) as error:
        stop(f"SERVICE_KEY_FILE: {error}")
    redis = connect(settings.redis_url)
    store = AdminStore(await open_store(settings.storage_url, "admin"))
    plain = open_channel(settings.auth_service, multiplex=settings.rpc_multiplex)
    tokens = ServiceTokens(NAME, service_key, plain)
    auth = open_channel(settings.auth_service, tokens.get, multiplex=settings.rpc_multiplex)
    keys, identities, credentials = KeysServiceStub(auth), IdentitiesServiceStub(auth), CredentialsServiceStub(auth)
    sessions = SessionGuard(redis)

    async def key_set() -> bytes:
        answer: HttpBody = await keys.GetKeySet(GetKeySetRequest())
        return bytes(answer.data)

    verifier = TokenVerifier(key_set, settings.token_issuer)

    async def redis_answers() -> None:
        await redis.ping()

    checkpoint_key = CheckpointKey(service_key)
    trail = AuditTrail(store, redis, checkpoint_key)
    events = EventStream(redis, redis_keys.AUDIT_EVENTS)
    known = categories(settings)
    runtime = RuntimeSettings(store, redis, trail, known, Sealer(service_key))

    async def retention_days() -> int:
        return int((await runtime.values(known["general"]))["audit_retention_days"])

    retention = Retention(store, trail, retention_days)
    rules_copy = IpRulesCopy(store, redis)
    rules = IpRules(store, rules_copy, trail)
    try:
        await _prepare(store)
        await serve(
            settings,
            NAME,
            [
                (
                    add_AdminServiceServicer_to_server,
                    AdminServicer(Impersonations(identities, trail), identities),
                ),
                (
                    add_AuditServiceServicer_to_server,
                    AuditServicer(AuditEvents(store), trail, checkpoint_key, retention),
                ),
                (add_IpRulesServiceServicer_to_server, IpRulesServicer(rules)),
                (add_UsersServiceServicer_to_server, UsersServicer(identities, credentials, trail)),
                (add_SettingsServiceServicer_to_server, SettingsServicer(runtime, known, SettingsServiceStub(auth))),
            ],
            Authenticator(verifier, sessions),
            ready={"redis": redis_answers, "storage": store.ping, "keys": verifier.ready},
            background=[sessions.watch(), events.consume(trail.store_batch), rules_copy.watch(), runtime.watch()],
        )
    finally:
        await trail.close()
        await store.close()
        await redis.aclose()


async def _prepare(store: AdminStore) -> None:
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
