"""auth-service: wiring, nothing else."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import httpx

from auth_service.access_tokens import AccessTokens
from auth_service.accounts import Accounts
from auth_service.administration import Administration
from auth_service.auth_settings import LiveSettings, first_values
from auth_service.config import Settings, read_master_keys, sender_of
from auth_service.credentials import Credentials
from auth_service.credentials_servicer import CredentialsServicer
from auth_service.grant_store import GrantStore
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
from auth_service.measures import mail_measure, session_measure
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
from fastcms_common import live_settings, redis_keys
from fastcms_common.errors import Conflict, Invalid
from fastcms_common.measures import keep_measuring, stream_measure
from fastcms_common.process import Process, start, until_available
from fastcms_common.sealing import Sealer
from fastcms_common.service_tokens import service_keys
from fastcms_common.serving import AddToServer
from fastcms_common.settings import stop
from fastcms_common.storage import Store

NAME = "auth-service"


class Service:
    """Everything of this process's own, put together."""

    def __init__(
        self,
        process: Process,
        settings: Settings,
        service_keys: tuple[bytes, ...],
        master_key: MasterKey,
        transport: Transport,
        storage: Store,
    ) -> None:
        self.process = process
        self.settings = settings
        self.service_keys = service_keys
        self.master_key = master_key
        self.redis, self.audit = process.redis, process.audit
        self.http = httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False)
        process.closing.push_async_callback(self.http.aclose)
        self.store, self.oauth_store, self.grant_store = AuthStore(storage), OAuthStore(storage), GrantStore(storage)
        self.live = LiveSettings(first_values(settings))
        self._tokens_and_sessions()
        self._accounts()
        self._mail(transport)
        self._administration()
        self._oauth()

    def _tokens_and_sessions(self) -> None:
        settings = self.settings
        self.keys = SigningKeys(self.store, self.master_key)
        self.tokens = AccessTokens(self.keys, settings.token_issuer, *self.service_keys)
        refresh_tokens = RefreshTokens(*self.master_key.derive("refresh-tokens"))
        self.sessions = Sessions(self.redis, refresh_tokens, timedelta(days=settings.session_absolute_days))
        self.passwords = Passwords(settings.password_threads, settings.password_queue)
        self.process.closing.callback(self.passwords.close)
        self.lockouts = Lockouts(self.redis, self.live)

    def _accounts(self) -> None:
        async def own_token() -> str:
            return self.tokens.own(NAME)

        settings, store, live, audit = self.settings, self.store, self.live, self.audit
        stub = ProfilesServiceStub(self.process.channel(settings.collections_service, own_token))
        self.realms, self.profiles = Realms(stub, self.redis), Profiles(stub)
        self.people = People(store, self.realms, self.profiles)
        setup_token = settings.setup_token.get_secret_value() if settings.setup_token else None
        self.accounts = Accounts(store, self.passwords, live, audit, setup_token)
        self.members = Members(store, self.sessions, self.profiles, self.passwords, live, audit)
        self.factors = SecondFactors(store, self.master_key, live, audit)
        self.impersonations = Impersonations(
            store, self.grant_store, self.sessions, self.tokens, self.process.verifier, self.process.sessions, audit
        )
        self.sign_in = SignIn(
            store,
            self.sessions,
            self.passwords,
            self.lockouts,
            self.tokens,
            live,
            self.profiles,
            self.factors,
            self.impersonations,
            audit,
        )

    def _mail(self, transport: Transport) -> None:
        store, audit = self.store, self.audit
        self.mail_settings = MailSettings(transport, Sealer(*self.service_keys))
        self.followed = live_settings.LiveSettings(self.redis, {"mail": self.mail_settings.change})
        self.mails = Mails(store, self.master_key, self.mail_settings.send, sender_of(self.settings), audit)
        tokens, codes = MailTokens(store), OneTimeCodes(self.redis, *self.master_key.derive("one-time-codes"))
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
            self.impersonations,
            audit,
        )

    def _administration(self) -> None:
        redis, store, live, audit = self.redis, self.store, self.live, self.audit
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
            audit,
        )
        self.settings_changes = SettingsChanges(redis, store, live, audit)
        self.reconciliation = Reconciliation(redis, store, self.members, self.profiles, self.sessions, audit)
        self.jobs = Jobs(store, self.sessions, self.impersonations, self.reconciliation, self.mails, self.keys)

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
            (add_SettingsServiceServicer_to_server, SettingsServicer(self.settings_changes, self.mails, self.followed)),
            (add_KeysServiceServicer_to_server, KeysServicer(self.keys, self.tokens, jobs)),
        ]

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """What runs beside the server."""
        return [
            self.keys.reload_forever(),
            self.requests.serve_forever(),
            self.reconciliation.serve_forever(),
            self.settings_changes.watch(),
            self.realms.watch(),
            self.mails.send_forever(),
            self.followed.watch(),
            keep_measuring(
                stream_measure(self.redis, redis_keys.COLLECTION_EVENTS),
                stream_measure(self.redis, redis_keys.MAIL_REQUESTS),
                session_measure(self.redis),
                mail_measure(self.store),
            ),
        ]


async def main(settings: Settings) -> None:
    keys = service_keys(settings)
    try:
        master_key = MasterKey(*read_master_keys(settings.master_key_file))
        transport = _transport(settings)
    except (OSError, ValueError) as error:
        stop(f"MASTER_KEY_FILE, SMTP_URL: {error}")

    async def key_set() -> bytes:
        return await service.keys.key_set()

    async with Process(settings, NAME, key_set) as process:
        service = Service(process, settings, keys, master_key, transport, await process.storage("auth"))
        await until_available(lambda: _prepare(service))
        await process.serve(service.servicers(), background=service.background())


def _transport(settings: Settings) -> Transport:
    if settings.smtp_url is not None:
        return smtp(settings.smtp_url.get_secret_value())
    return outbox(settings.outbox_dir or settings.data_dir / "outbox")


async def _prepare(service: Service) -> None:
    """Tables, keys, and the first admin. Raises Unavailable while storage or Redis is away."""
    email, password = service.settings.admin_email, service.settings.admin_password
    try:
        await service.store.prepare()
        await service.oauth_store.prepare()
        await service.grant_store.prepare()
        await service.keys.load()
        await service.settings_changes.read()
        if email is not None and password is not None:
            await service.accounts.ensure_first_admin(email, password.get_secret_value())
    except Invalid as error:
        stop(f"ADMIN_EMAIL, ADMIN_PASSWORD: {'; '.join(f'{one.field}: {one.message}' for one in error.fields)}")
    except (Conflict, ValueError) as error:
        stop(f"MASTER_KEY_FILE, ADMIN_EMAIL: {error}")


if __name__ == "__main__":
    start(NAME, Settings, main)
