"""auth-service: wiring, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import httpx

from auth_service.access_tokens import AccessTokens
from auth_service.accounts import Accounts
from auth_service.administration import Administration
from auth_service.auth_settings import LiveSettings, first_values
from auth_service.config import Settings, read_master_key, sender_of
from auth_service.credentials import Credentials
from auth_service.credentials_servicer import CredentialsServicer
from auth_service.identities import Identities
from auth_service.identities_servicer import IdentitiesServicer, KeysServicer
from auth_service.impersonations import Impersonations
from auth_service.jobs import Jobs
from auth_service.keys import SigningKeys
from auth_service.lockouts import Lockouts
from auth_service.mail_requests import MailRequests
from auth_service.mail_settings import MailSettings
from auth_service.mail_tokens import MailTokens
from auth_service.mail_transports import Transport, outbox, smtp
from auth_service.mails import Mails
from auth_service.master_key import MasterKey
from auth_service.members import Members
from auth_service.mfa_servicer import MfaServicer, SettingsServicer
from auth_service.oauth import OAuth
from auth_service.oauth_clients import TIMEOUT, OAuthClients
from auth_service.oauth_providers import Providers
from auth_service.oauth_servicer import OAuthProvidersServicer, OAuthServicer
from auth_service.oauth_store import OAuthStore
from auth_service.one_time_codes import OneTimeCodes
from auth_service.passwords import Passwords
from auth_service.people import People
from auth_service.profiles import Profiles
from auth_service.realms import Realms
from auth_service.reconciliation import Reconciliation
from auth_service.refresh_tokens import RefreshTokens
from auth_service.second_factors import SecondFactors
from auth_service.servicer import AuthServicer
from auth_service.sessions import Sessions
from auth_service.settings_changes import SettingsChanges
from auth_service.sign_in import SignIn
from auth_service.store import AuthStore
from fastcms.auth.v1.auth_pb2_grpc import add_AuthServiceServicer_to_server
from fastcms.auth.v1.credentials_pb2_grpc import add_CredentialsServiceServicer_to_server
from fastcms.auth.v1.identities_pb2_grpc import add_IdentitiesServiceServicer_to_server
from fastcms.auth.v1.keys_pb2_grpc import add_KeysServiceServicer_to_server
from fastcms.auth.v1.mfa_pb2_grpc import add_MfaServiceServicer_to_server
from fastcms.auth.v1.oauth_pb2_grpc import (
    add_OAuthProvidersServiceServicer_to_server,
    add_OAuthServiceServicer_to_server,
)
from fastcms.auth.v1.settings_pb2_grpc import add_SettingsServiceServicer_to_server
from fastcms.collections.v1.profiles_pb2_grpc import ProfilesServiceStub
from fastcms_common import live_settings, logs
from fastcms_common.access import Authenticator
from fastcms_common.audit import AuditLog
from fastcms_common.channels import open_channel
from fastcms_common.errors import Conflict, Invalid, Unavailable
from fastcms_common.redis_connection import connect
from fastcms_common.sealing import Sealer
from fastcms_common.service_tokens import read_key
from fastcms_common.serving import AddToServer, run, serve
from fastcms_common.sessions import SessionGuard
from fastcms_common.settings import load, stop
from fastcms_common.storage import Store, open_store
from fastcms_common.tokens import TokenVerifier

NAME = "auth-service"
_RETRY_SECONDS = 0.5

log = logs.get_logger(__name__)


class Service:
    """Everything that this process consists of, put together."""

    def __init__(
        self, settings: Settings, service_key: bytes, master_key: MasterKey, transport: Transport, storage: Store
    ) -> None:
        self.settings = settings
        self.service_key = service_key
        self.master_key = master_key
        self.redis = connect(settings.redis_url)
        self.http = httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False)
        self.store, self.oauth_store = AuthStore(storage), OAuthStore(storage)
        self.live = LiveSettings(first_values(settings))
        self.audit = AuditLog(self.redis)
        self._tokens_and_sessions()
        self._accounts()
        self._mail(transport)
        self._administration()
        self._oauth()

    def _tokens_and_sessions(self) -> None:
        settings = self.settings
        self.keys = SigningKeys(self.store, self.master_key)
        self.tokens = AccessTokens(self.keys, settings.token_issuer, self.service_key)
        self.verifier, self.guard = TokenVerifier(self.keys.key_set, settings.token_issuer), SessionGuard(self.redis)
        refresh_tokens = RefreshTokens(self.master_key.derive("refresh-tokens"))
        self.sessions = Sessions(self.redis, refresh_tokens, timedelta(days=settings.session_absolute_days))
        self.passwords = Passwords(settings.password_threads, settings.password_queue)
        self.lockouts = Lockouts(self.redis, self.live)

    def _accounts(self) -> None:
        async def own_token() -> str:
            return self.tokens.own(NAME)

        settings, store, live, audit = self.settings, self.store, self.live, self.audit
        self.collections = open_channel(settings.collections_service, own_token, multiplex=settings.rpc_multiplex)
        stub = ProfilesServiceStub(self.collections)
        self.realms, self.profiles = Realms(stub), Profiles(stub)
        self.people = People(store, self.realms, self.profiles)
        setup_token = settings.setup_token.get_secret_value() if settings.setup_token else None
        self.accounts = Accounts(store, self.passwords, live, audit, setup_token)
        self.members = Members(store, self.sessions, self.profiles, self.passwords, live, audit)
        self.factors = SecondFactors(store, self.master_key, live, audit)
        self.sign_in = SignIn(
            store, self.sessions, self.passwords, self.lockouts, self.tokens, live, self.profiles, self.factors, audit
        )

    def _mail(self, transport: Transport) -> None:
        store, audit = self.store, self.audit
        self.mail_settings = MailSettings(transport, Sealer(self.service_key))
        self.mails = Mails(store, self.master_key, self.mail_settings.send, sender_of(self.settings), audit)
        tokens, codes = MailTokens(store), OneTimeCodes(self.redis, self.master_key.derive("one-time-codes"))
        self.requests = MailRequests(self.redis, store, tokens, codes, self.mails, self.settings.app_url)
        self.credentials = Credentials(
            store,
            self.sessions,
            self.passwords,
            self.lockouts,
            self.live,
            self.profiles,
            tokens,
            codes,
            self.requests,
            self.sign_in,
            audit,
        )

    def _administration(self) -> None:
        redis, store, live, audit = self.redis, self.store, self.live, self.audit
        self.impersonations = Impersonations(store, self.sessions, self.tokens, self.verifier, self.guard, audit)
        self.identities = Identities(store, self.realms, self.lockouts, audit)
        self.administration = Administration(
            store,
            self.realms,
            self.accounts,
            self.members,
            self.sessions,
            self.identities,
            self.credentials,
            self.impersonations,
            live,
            audit,
        )
        self.settings_changes = SettingsChanges(redis, store, live, audit)
        self.reconciliation = Reconciliation(redis, store, self.members, self.profiles, self.sessions, audit)
        self.jobs = Jobs(store, self.sessions, self.reconciliation, self.mails, self.keys)

    def _oauth(self) -> None:
        self.providers = Providers(self.oauth_store, self.master_key, self.audit)
        self.oauth = OAuth(
            self.redis,
            self.store,
            self.oauth_store,
            self.providers,
            OAuthClients(self.http),
            self.members,
            self.sessions,
            self.sign_in,
            self.credentials,
            self.live,
            self.master_key,
            self.audit,
        )

    def servicers(self) -> list[tuple[AddToServer, object]]:
        """What is served."""
        realms, people, sign_in, jobs = self.realms, self.people, self.sign_in, self.jobs
        auth = AuthServicer(realms, self.accounts, self.members, sign_in, self.sessions, people, self.impersonations)
        identities = IdentitiesServicer(self.identities, self.administration, self.impersonations, jobs)
        oauth = OAuthServicer(realms, people, self.oauth, self.settings.app_url.startswith("https:"))
        return [
            (add_AuthServiceServicer_to_server, auth),
            (
                add_CredentialsServiceServicer_to_server,
                CredentialsServicer(realms, people, self.credentials, self.requests),
            ),
            (add_IdentitiesServiceServicer_to_server, identities),
            (add_MfaServiceServicer_to_server, MfaServicer(realms, people, self.factors, sign_in)),
            (add_OAuthServiceServicer_to_server, oauth),
            (add_OAuthProvidersServiceServicer_to_server, OAuthProvidersServicer(self.providers)),
            (add_SettingsServiceServicer_to_server, SettingsServicer(self.settings_changes)),
            (add_KeysServiceServicer_to_server, KeysServicer(self.keys, self.tokens, jobs)),
        ]

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """What runs beside the server."""
        return [
            self.guard.watch(),
            self.keys.reload_forever(),
            self.requests.serve_forever(),
            self.reconciliation.serve_forever(),
            self.settings_changes.watch(),
            self.mails.send_forever(),
            live_settings.LiveSettings(self.redis, {"mail": self.mail_settings.change}).watch(),
        ]

    async def redis_answers(self) -> None:
        """Raises where Redis does not answer."""
        await self.redis.ping()

    async def close(self) -> None:
        """Lets go of everything."""
        self.passwords.close()
        await self.collections.close()
        await self.http.aclose()
        await self.store.close()
        await self.redis.aclose()


async def main(settings: Settings) -> None:
    try:
        service_key = read_key(settings.service_key_file)
        master_key = MasterKey(read_master_key(settings.master_key_file))
        transport = _transport(settings)
    except (OSError, ValueError) as error:
        stop(f"SERVICE_KEY_FILE, MASTER_KEY_FILE, SMTP_URL: {error}")
    service = Service(settings, service_key, master_key, transport, await open_store(settings.storage_url, "auth"))
    try:
        await _prepare(service)
        await serve(
            settings,
            NAME,
            service.servicers(),
            Authenticator(service.verifier, service.guard),
            ready={"redis": service.redis_answers, "storage": service.store.ping, "keys": service.keys.ready},
            background=service.background(),
        )
    finally:
        await service.close()


def _transport(settings: Settings) -> Transport:
    if settings.smtp_url is not None:
        return smtp(settings.smtp_url.get_secret_value())
    return outbox(settings.outbox_dir or settings.data_dir / "outbox")


async def _prepare(service: Service) -> None:
    """Tables, keys, and the first admin; waits for storage and Redis as long as it takes."""
    email, password = service.settings.admin_email, service.settings.admin_password
    while True:
        try:
            await service.store.prepare()
            await service.oauth_store.prepare()
            await service.keys.load()
            await service.settings_changes.read()
            if email is not None and password is not None:
                await service.accounts.ensure_first_admin(email, password.get_secret_value())
            return
        except Unavailable as error:
            log.warning("waiting", error=error.detail)
            await asyncio.sleep(_RETRY_SECONDS)
        except Invalid as error:
            stop(f"ADMIN_EMAIL, ADMIN_PASSWORD: {'; '.join(f'{one.field}: {one.message}' for one in error.fields)}")
        except (Conflict, ValueError) as error:
            stop(f"MASTER_KEY_FILE, ADMIN_EMAIL: {error}")


if __name__ == "__main__":
    process_settings = load(Settings)
    logs.configure(process_settings, NAME)
    run(main(process_settings))
