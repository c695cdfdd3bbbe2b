"""auth-service: wiring, nothing else."""

from __future__ import annotations

import asyncio
from datetime import timedelta

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
from fastcms_common.serving import run, serve
from fastcms_common.sessions import SessionGuard
from fastcms_common.settings import load, stop
from fastcms_common.storage import open_store
from fastcms_common.tokens import TokenVerifier

NAME = "auth-service"
_RETRY_SECONDS = 0.5

log = logs.get_logger(__name__)


async def main(settings: Settings) -> None:
    try:
        service_key = read_key(settings.service_key_file)
        master_key = MasterKey(read_master_key(settings.master_key_file))
        transport = _transport(settings)
    except (OSError, ValueError) as error:
        stop(f"SERVICE_KEY_FILE, MASTER_KEY_FILE, SMTP_URL: {error}")
    redis = connect(settings.redis_url)
    store = AuthStore(await open_store(settings.storage_url, "auth"))
    live = LiveSettings(first_values(settings))
    audit = AuditLog(redis)
    keys = SigningKeys(store, master_key)
    tokens = AccessTokens(keys, settings.token_issuer, service_key)
    sessions = Sessions(
        redis, RefreshTokens(master_key.derive("refresh-tokens")), timedelta(days=settings.session_absolute_days)
    )
    passwords = Passwords(settings.password_threads, settings.password_queue)
    lockouts = Lockouts(redis, live)
    setup_token = settings.setup_token.get_secret_value() if settings.setup_token else None
    accounts = Accounts(store, passwords, live, audit, setup_token)
    factors = SecondFactors(store, master_key, live, audit)

    async def own_token() -> str:
        return tokens.own(NAME)

    collections = open_channel(settings.collections_service, own_token, multiplex=settings.rpc_multiplex)
    profiles_stub = ProfilesServiceStub(collections)
    realms, profiles = Realms(profiles_stub), Profiles(profiles_stub)
    members = Members(store, sessions, profiles, passwords, live, audit)
    people = People(store, realms, profiles)
    sign_in = SignIn(store, sessions, passwords, lockouts, tokens, live, profiles, factors, audit)
    mail_tokens, codes = MailTokens(store), OneTimeCodes(redis, master_key.derive("one-time-codes"))
    mail_settings = MailSettings(transport, Sealer(service_key))
    mails = Mails(store, master_key, mail_settings.send, sender_of(settings), audit)
    requests = MailRequests(redis, store, mail_tokens, codes, mails, settings.app_url)
    credentials = Credentials(
        store, sessions, passwords, lockouts, live, profiles, mail_tokens, codes, requests, sign_in, audit
    )
    verifier, guard = TokenVerifier(keys.key_set, settings.token_issuer), SessionGuard(redis)
    impersonations = Impersonations(store, sessions, tokens, verifier, guard, audit)

    identities = Identities(store, realms, lockouts, audit)
    administration = Administration(
        store, realms, accounts, members, sessions, identities, credentials, impersonations, live, audit
    )
    http = httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False)
    oauth_store = OAuthStore(store.storage)
    providers = Providers(oauth_store, master_key, audit)
    oauth = OAuth(
        redis,
        store,
        oauth_store,
        providers,
        OAuthClients(http),
        members,
        sessions,
        sign_in,
        credentials,
        live,
        master_key,
        audit,
    )
    settings_changes = SettingsChanges(redis, store, live, audit)
    reconciliation = Reconciliation(redis, store, members, profiles, sessions, audit)
    jobs = Jobs(store, sessions, reconciliation, mails, keys)

    async def redis_answers() -> None:
        await redis.ping()

    try:
        await _prepare(settings, store, oauth_store, keys, accounts, settings_changes)
        await serve(
            settings,
            NAME,
            [
                (
                    add_AuthServiceServicer_to_server,
                    AuthServicer(realms, accounts, members, sign_in, sessions, people, impersonations),
                ),
                (
                    add_CredentialsServiceServicer_to_server,
                    CredentialsServicer(realms, people, credentials, requests),
                ),
                (
                    add_IdentitiesServiceServicer_to_server,
                    IdentitiesServicer(identities, administration, impersonations, jobs),
                ),
                (add_MfaServiceServicer_to_server, MfaServicer(realms, people, factors, sign_in)),
                (
                    add_OAuthServiceServicer_to_server,
                    OAuthServicer(realms, people, oauth, settings.app_url.startswith("https:")),
                ),
                (add_OAuthProvidersServiceServicer_to_server, OAuthProvidersServicer(providers)),
                (add_SettingsServiceServicer_to_server, SettingsServicer(settings_changes)),
                (add_KeysServiceServicer_to_server, KeysServicer(keys, tokens, jobs)),
            ],
            Authenticator(verifier, guard),
            ready={"redis": redis_answers, "storage": store.ping, "keys": keys.ready},
            background=[
                guard.watch(),
                keys.reload_forever(),
                requests.serve_forever(),
                reconciliation.serve_forever(),
                settings_changes.watch(),
                mails.send_forever(),
                live_settings.LiveSettings(redis, {"mail": mail_settings.change}).watch(),
            ],
        )
    finally:
        passwords.close()
        await collections.close()
        await http.aclose()
        await store.close()
        await redis.aclose()


def _transport(settings: Settings) -> Transport:
    if settings.smtp_url is not None:
        return smtp(settings.smtp_url.get_secret_value())
    return outbox(settings.outbox_dir or settings.data_dir / "outbox")


async def _prepare(
    settings: Settings,
    store: AuthStore,
    oauth_store: OAuthStore,
    keys: SigningKeys,
    accounts: Accounts,
    changes: SettingsChanges,
) -> None:
    """Tables, keys, and the first admin; waits for storage and Redis as long as it takes."""
    while True:
        try:
            await store.prepare()
            await oauth_store.prepare()
            await keys.load()
            await changes.read()
            if settings.admin_email is not None and settings.admin_password is not None:
                await accounts.ensure_first_admin(settings.admin_email, settings.admin_password.get_secret_value())
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
