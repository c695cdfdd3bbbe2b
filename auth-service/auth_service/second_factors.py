"""The second factor: TOTP (RFC 6238: SHA-1, six digits, thirty seconds) with recovery codes.

A code is spent by one atomic change of the identity, so of any number of uses at once one wins, and none is ever
accepted again. Secrets are sealed under the master key, recovery codes hashed.
"""

from __future__ import annotations

import hashlib
import io
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import pyotp
import segno

from auth_service.auth_settings import LiveSettings
from auth_service.master_key import MasterKey
from auth_service.models import Identity, SecondFactor, to_document
from auth_service.realms import Realm
from auth_service.store import AuthStore
from fastcms_common.audit import AuditLog
from fastcms_common.errors import Conflict, Denied, Invalid, Unauthenticated

STEP = 30
RECOVERY_CODES = 10
# Without i, l, o, 0 and 1: read from paper.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
# Steps by which the clock of a phone may be off, either way (RFC 6238, 5.2).
_DRIFT = 1


@dataclass(frozen=True, slots=True)
class Setup:
    """What an authenticator app needs."""

    secret: str
    otpauth_url: str
    qr_svg: str


class SecondFactors:
    """Setting up, asking for, and spending second factors."""

    def __init__(
        self,
        store: AuthStore,
        master_key: MasterKey,
        settings: LiveSettings,
        audit: AuditLog,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._master_key = master_key
        self._settings = settings
        self._audit = audit
        self._clock = clock

    async def setup(self, realm: Realm, identity: Identity) -> Setup:
        """A new secret, which counts once `enable` has seen a code of it.

        Denied (MFA_DISABLED) where second factors are switched off, Conflict (MFA_ALREADY_ENABLED).
        """
        self._check_on(realm)
        secret = pyotp.random_base32()
        factor = SecondFactor(secret=self._master_key.seal(secret.encode(), owner(identity)))
        if not await self._store.begin_second_factor(identity.id, to_document(factor)):
            raise Conflict("A second factor is enabled already. Disable it first.", reason="MFA_ALREADY_ENABLED")
        url = pyotp.TOTP(secret).provisioning_uri(name=identity.email, issuer_name="FastCMS")
        picture = io.BytesIO()
        segno.make(url, error="m").save(picture, kind="svg", scale=4, xmldecl=False, svgclass=None, lineclass=None)
        return Setup(secret, url, picture.getvalue().decode().strip())

    async def enable(self, realm: Realm, identity: Identity, code: str) -> list[str]:
        """Begins asking for the second factor; ten recovery codes, shown this once. Invalid where `code` is wrong."""
        self._check_on(realm)
        factor = identity.second_factor
        if factor is None:
            raise Conflict("There is no second factor to enable. Set one up first.", reason="MFA_NOT_SET_UP")
        if factor.enabled:
            raise Conflict("A second factor is enabled already.", reason="MFA_ALREADY_ENABLED")
        step = self._matching_step(identity, factor, code)
        if step is None:
            raise Invalid.field("code", "The code is not right.", reason="MFA_CODE_INVALID")
        codes = _new_codes()
        enabled = {"enabled": True, "last_step": step, "recovery_codes": [_hash(one) for one in codes]}
        if not await self._store.enable_second_factor(identity, factor.secret, enabled):
            raise Conflict("The second factor was changed meanwhile.", reason="MFA_CHANGED")
        await self._note(identity, "mfa_enabled", "Enabled a second factor")
        return codes

    async def disable(self, identity: Identity) -> None:
        """Stops asking. The caller has proven password and, where there is one, a code."""
        if identity.second_factor is None:
            return
        await self._store.drop_second_factor(identity.id)
        await self._note(identity, "mfa_disabled", "Disabled the second factor", severity="warning")

    async def renew_codes(self, identity: Identity) -> list[str]:
        """Ten new recovery codes; those before are void."""
        codes = _new_codes()
        if not await self._store.renew_recovery_codes(identity.id, [_hash(one) for one in codes]):
            raise Conflict("There is no second factor.", reason="MFA_NOT_ENABLED")
        await self._note(identity, "mfa_recovery_codes_renewed", "Renewed the recovery codes")
        return codes

    async def spend(self, identity: Identity, code: str) -> bool:
        """Whether `code` is a good code of the authenticator, or a recovery code; it is spent by the asking."""
        factor = identity.second_factor
        if factor is None or not factor.enabled:
            return False
        step = self._matching_step(identity, factor, code)
        if step is not None:
            return await self._store.spend_step(identity.id, step)
        hashed = _hash(code)
        if hashed not in factor.recovery_codes or not await self._store.spend_recovery_code(identity.id, hashed):
            return False
        await self._note(identity, "mfa_recovery_code_used", "Used a recovery code", severity="warning")
        return True

    def _matching_step(self, identity: Identity, factor: SecondFactor, code: str) -> int | None:
        digits = re.sub(r"[\s-]", "", code)
        if not re.fullmatch(r"[0-9]{6}", digits):
            return None
        totp = pyotp.TOTP(self._master_key.unseal(factor.secret, owner(identity)).decode())
        now = int(self._clock()) // STEP
        matching = [
            step
            for step in range(now - _DRIFT, now + _DRIFT + 1)
            if secrets.compare_digest(totp.generate_otp(step), digits)
        ]
        return next((step for step in matching if step > factor.last_step), None)

    def _check_on(self, realm: Realm) -> None:
        if not realm.settings(self._settings.current).mfa_enabled:
            raise Denied("Second factors are switched off.", reason="MFA_DISABLED")

    async def _note(self, identity: Identity, action: str, description: str, severity: str = "info") -> None:
        await self._audit.record(
            "auth",
            action,
            severity=severity,
            user_id=identity.id,
            user_email=identity.email,
            description=description,
            resource_type="user",
            resource_id=identity.id,
        )


def required() -> Unauthenticated:
    """The answer to a right password where a second factor is due."""
    return Unauthenticated("A code of the second factor is required.", reason="MFA_REQUIRED")


def wrong() -> Unauthenticated:
    """The answer to a wrong, spent or outdated code."""
    return Unauthenticated("The code of the second factor is not right.", reason="MFA_CODE_INVALID")


def owner(identity: Identity) -> str:
    """What the secret of a second factor is sealed for."""
    return f"totp:{identity.id}"


def _new_codes() -> list[str]:
    # Ten characters of 31: 49 bits each, guessed online only, under the account's lockout.
    texts = ["".join(secrets.choice(_ALPHABET) for _ in range(10)) for _ in range(RECOVERY_CODES)]
    return [f"{text[:5]}-{text[5:]}" for text in texts]


def _hash(code: str) -> str:
    return hashlib.sha256(re.sub(r"[\s-]", "", code).lower().encode()).hexdigest()
