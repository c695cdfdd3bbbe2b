"""The record side of people: the profiles of members, kept by collections-service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson

from auth_service.models import Identity
from auth_service.realms import Realm
from fastcms.collections.v1 import profiles_pb2
from fastcms_common.channels import as_service
from fastcms_common.errors import NotFound, Unauthenticated

if TYPE_CHECKING:
    from fastcms.collections.v1.profiles_pb2_grpc import ProfilesServiceAsyncStub


class Profiles:
    """Calls to ProfilesService, in this service's own name."""

    def __init__(self, stub: ProfilesServiceAsyncStub) -> None:
        self._stub = stub

    async def user(self, identity: Identity) -> bytes:
        """The person as `me` and the login answer show them: JSON. Unauthenticated where a member's record is gone."""
        if identity.built_in:
            return user_json(identity)
        request = profiles_pb2.GetProfileRequest(collection=identity.realm, id=identity.id)
        try:
            with as_service():
                return (await self._stub.GetProfile(request)).record
        except NotFound:
            raise Unauthenticated("This account is gone.", reason="ACCOUNT_GONE") from None

    async def create(self, identity: Identity, data: bytes, *, by_admin: bool) -> None:
        """Makes the record of a new member; `data` is a JSON object of the collection's own fields, of which an admin
        may set the hidden ones as well. Idempotent.

        Raises Invalid naming the fields that the collection does not take.
        """
        request = profiles_pb2.CreateProfileRequest(
            collection=identity.realm,
            id=identity.id,
            email=identity.email,
            verified=identity.verified,
            data=data,
            by_admin=by_admin,
        )
        with as_service():
            await self._stub.CreateProfile(request)

    async def update(self, identity: Identity) -> None:
        """Gives the record the identity's e-mail and `verified`. Idempotent. NotFound."""
        request = profiles_pb2.UpdateProfileRequest(
            collection=identity.realm, id=identity.id, email=identity.email, verified=identity.verified
        )
        with as_service():
            await self._stub.UpdateProfile(request)

    async def delete(self, identity: Identity) -> None:
        """Deletes the record. Idempotent. Conflict where records that must not lose it point to it."""
        with as_service():
            await self._stub.DeleteProfile(profiles_pb2.DeleteProfileRequest(collection=identity.realm, id=identity.id))

    async def named(self, realm: Realm, value: str) -> str:
        """The id of the member with this value in the realm's `identity_field`; empty where there is none."""
        request = profiles_pb2.FindNamedProfileRequest(collection=realm.id, value=value)
        with as_service():
            return (await self._stub.FindNamedProfile(request)).id

    async def missing(self, realm: str, ids: Sequence[str]) -> set[str]:
        """Those of the ids that have no record."""
        with as_service():
            answer = await self._stub.FindProfiles(profiles_pb2.FindProfilesRequest(collection=realm, ids=ids))
        return set(ids) - set(answer.ids)


def user_json(identity: Identity) -> bytes:
    """A built-in user as `me` and the login answer show them (fastcms.auth.v1.User)."""
    return orjson.dumps(
        {
            "id": identity.id,
            "email": identity.email,
            "name": identity.name,
            "role": identity.role,
            "superadmin": identity.superadmin,
            "verified": identity.verified,
            "mfa_enabled": identity.mfa_enabled,
            "created": identity.created,
            "updated": identity.updated,
        }
    )
