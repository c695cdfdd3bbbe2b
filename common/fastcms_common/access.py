"""Who may call what: the `access` option beside each rpc, read here and nowhere else. Nothing is open by default."""

from __future__ import annotations

from google.protobuf.descriptor import MethodDescriptor

from fastcms.common.v1 import options_pb2
from fastcms.common.v1.options_pb2 import Access
from fastcms_common.context import Caller
from fastcms_common.errors import Denied, Unauthenticated
from fastcms_common.sessions import SessionGuard
from fastcms_common.tokens import TokenVerifier

_ADMINS = (Access.CALLER_ADMIN, Access.CALLER_SUPERADMIN)


def access_of(method: MethodDescriptor) -> Access:
    """The access option of an rpc. Raises ValueError where it has none: such an rpc must not be served."""
    access = method.GetOptions().Extensions[options_pb2.access]
    if access.caller == Access.CALLER_UNSPECIFIED:
        raise ValueError(f"{method.full_name} does not say who may call it")
    return access


def enforce(access: Access, caller: Caller | None) -> None:
    """Returns where `caller` may call. Raises Unauthenticated for nobody, Denied for somebody who may not."""
    need = access.caller
    if need in (Access.CALLER_PUBLIC, Access.CALLER_OPTIONAL):
        if caller is not None and access.deny_impersonation:
            refuse_impersonation(caller)
        return
    if caller is None:
        raise Unauthenticated
    if caller.is_service:
        if need == Access.CALLER_SERVICE or access.services:
            return
        raise Denied("Services may not call this.")
    if need == Access.CALLER_SERVICE:
        raise Denied("Only services may call this.")
    if access.deny_impersonation or need in _ADMINS:
        refuse_impersonation(caller)
    if need in _ADMINS and not caller.is_admin:
        raise Denied("Only admins may do this.", reason="ADMIN_REQUIRED")
    if need == Access.CALLER_SUPERADMIN and not caller.superadmin:
        raise Denied("Only superadmins may do this.", reason="SUPERADMIN_REQUIRED")


def refuse_impersonation(caller: Caller) -> None:
    """Returns where callers are themselves. Denied where an admin acts as them."""
    if caller.actor_id is not None:
        raise Denied("This cannot be done while impersonating.", reason="FORBIDDEN_WHILE_IMPERSONATING")


class Authenticator:
    """Turns an Authorization header into a caller, the same way in the gateway and in every service."""

    def __init__(self, verifier: TokenVerifier, sessions: SessionGuard) -> None:
        self._verifier = verifier
        self._sessions = sessions

    async def caller(self, access: Access, authorization: str | None) -> tuple[Caller | None, str | None]:
        """Who calls an rpc of this `access`, with the bare token, once they are found to be allowed to.

        A public rpc does not look at a token at all. Raises Unauthenticated, Denied or Unavailable.
        """
        if access.caller == Access.CALLER_PUBLIC:
            return None, None
        if not authorization:
            enforce(access, None)
            return None, None
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("The Authorization header has to be `Bearer <token>`.", reason="TOKEN_INVALID")
        caller = await self._verifier.verify(token)
        if caller.session_id is not None:
            await self._sessions.check(caller.session_id)
        enforce(access, caller)
        return caller, token
