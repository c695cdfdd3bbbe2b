"""What people ask to be mailed.

A request is put on a stream, whoever asks and whether or not there is an account: that takes the same time and gets the
same answer. Looking the account up, making a token and writing the mail is done by the stream's reader.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from redis.asyncio import Redis

from auth_service import addresses
from auth_service.mail_tokens import MailTokens
from auth_service.mails import Mails
from auth_service.models import Identity
from auth_service.one_time_codes import OneTimeCodes
from auth_service.realms import Realm
from auth_service.sign_in import may_sign_in
from auth_service.store import AuthStore
from fastcms_common import redis_keys
from fastcms_common.events import EventStream

Kind = Literal["password_reset", "verification", "otp", "email_change"]


@dataclass(frozen=True, slots=True)
class Request:
    """An entry of the stream. `collection` is the realm's name, empty for built-in users."""

    kind: str
    realm: str
    collection: str
    email: str
    identity: str


class MailRequests:
    """The stream and its reader."""

    def __init__(
        self,
        redis: Redis,
        store: AuthStore,
        tokens: MailTokens,
        codes: OneTimeCodes,
        mails: Mails,
        app_url: str,
    ) -> None:
        self._stream = EventStream(redis, redis_keys.MAIL_REQUESTS)
        self._store = store
        self._tokens = tokens
        self._codes = codes
        self._mails = mails
        self._app_url = app_url.rstrip("/")
        self._writers: dict[str, Callable[[Request], Coroutine[Any, Any, None]]] = {
            "password_reset": self._password_reset,
            "verification": self._verification,
            "otp": self._otp,
            "email_change": self._email_change,
        }

    async def put(self, kind: Kind, realm: Realm, email: str, identity_id: str = "") -> None:
        """Asks for a mail to `email`; for an e-mail change `identity_id` says whose. Unavailable."""
        collection = "" if realm.built_in else realm.name
        fields = {"kind": kind, "realm": realm.id, "collection": collection, "email": email, "identity": identity_id}
        await self._stream.publish(dict(fields))

    async def serve_forever(self) -> None:
        """Reads requests until cancelled. A request that is read twice is a second mail, and its token the good one."""
        await self._stream.consume(self._handle)

    async def _handle(self, events: list[tuple[str, dict[bytes, bytes]]]) -> None:
        for _, fields in events:
            request = Request(**{name.decode(): value.decode() for name, value in fields.items()})
            await self._writers[request.kind](request)

    async def _password_reset(self, request: Request) -> None:
        identity = await self._identity(request)
        if identity is not None:
            token = await self._tokens.issue(identity, "password_reset", identity.email)
            await self._mails.write(
                "password_reset",
                identity.email,
                email=identity.email,
                collection=request.collection,
                link=self._link("reset-password", token, request),
            )

    async def _verification(self, request: Request) -> None:
        identity = await self._identity(request)
        if identity is not None and not identity.verified:
            token = await self._tokens.issue(identity, "verification", identity.email)
            await self._mails.write(
                "verification",
                identity.email,
                email=identity.email,
                collection=request.collection,
                link=self._link("verify-email", token, request),
            )

    async def _otp(self, request: Request) -> None:
        identity = await self._identity(request)
        if identity is not None:
            code = await self._codes.issue(identity.realm, identity.email_key)
            await self._mails.write("otp", identity.email, code=code, collection=request.collection)

    async def _email_change(self, request: Request) -> None:
        identity = await self._store.identity(request.identity)
        if identity is None or not may_sign_in(identity):
            return
        holder = await self._store.identity_by_email(identity.realm, addresses.key(request.email))
        if holder is not None and holder.id != identity.id:
            if may_sign_in(holder):
                await self._mails.write("email_taken", holder.email, email=holder.email, collection=request.collection)
            return
        token = await self._tokens.issue(identity, "email_change", request.email)
        await self._mails.write(
            "email_change",
            request.email,
            email=request.email,
            old_email=identity.email,
            collection=request.collection,
            link=self._link("confirm-email-change", token, request),
        )
        await self._mails.write(
            "email_change_notice",
            identity.email,
            email=identity.email,
            new_email=request.email,
            collection=request.collection,
        )

    async def _identity(self, request: Request) -> Identity | None:
        identity = await self._store.identity_by_email(request.realm, addresses.key(request.email))
        return identity if identity is not None and may_sign_in(identity) else None

    def _link(self, page: str, token: str, request: Request) -> str:
        query = {"token": token} | ({"collection": request.collection} if request.collection else {})
        return f"{self._app_url}/{page}?{urlencode(query)}"
