"""Access tokens: what is said in them, and for how long. `fastcms_common.tokens` is the reader."""

from __future__ import annotations

import hmac
import time

from auth_service.keys import SigningKeys
from auth_service.models import Identity
from fastcms_common.errors import Unauthenticated
from fastcms_common.ids import new_id
from fastcms_common.service_tokens import proof_of
from fastcms_common.tokens import AUDIENCE

# Seconds: what a service token lasts, and how far the clocks of two services may be apart.
SERVICE_TOKEN_SECONDS = 300
CLOCK_TOLERANCE = 60


class AccessTokens:
    """Mints tokens."""

    def __init__(self, keys: SigningKeys, issuer: str, *service_keys: bytes) -> None:
        self._keys = keys
        self._issuer = issuer
        self._service_keys = service_keys
        self._own = ""
        self._own_until = 0.0

    def for_session(self, identity: Identity, session_id: str, lifetime: int, actor_id: str | None = None) -> str:
        """The token of a session, good for `lifetime` seconds."""
        claims = self._claims(identity.id, identity.role, lifetime) | {"sid": session_id, "col": identity.realm}
        if identity.superadmin:
            claims["superadmin"] = True
        if actor_id is not None:
            claims["act"] = {"sub": actor_id}
        return self._keys.sign(claims)

    def for_service(self, service: str, timestamp: int, proof: str) -> str:
        """A service's own token. Unauthenticated where the proof is wrong or from another time."""
        proofs = [proof_of(key, service, timestamp).encode() for key in self._service_keys]
        good = any(hmac.compare_digest(expected, proof.encode()) for expected in proofs)
        if not service or not good or abs(time.time() - timestamp) > CLOCK_TOLERANCE:
            raise Unauthenticated("The proof is not good.", reason="SERVICE_PROOF_INVALID")
        return self._service_token(service)

    def own(self, service: str) -> str:
        """The token with which this service itself calls others."""
        if time.time() > self._own_until:
            self._own = self._service_token(service)
            self._own_until = time.time() + SERVICE_TOKEN_SECONDS / 2
        return self._own

    def _service_token(self, service: str) -> str:
        return self._keys.sign(self._claims(f"service:{service}", "service", SERVICE_TOKEN_SECONDS))

    def _claims(self, subject: str, role: str, lifetime: int) -> dict[str, object]:
        now = int(time.time())
        return {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": now,
            "exp": now + lifetime,
            "jti": new_id(),
            "role": role,
        }
