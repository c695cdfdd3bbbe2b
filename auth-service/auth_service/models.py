"""What auth-service keeps, as it lies in storage. Times are canonical text (fastcms_common.times)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fastcms_common.context import BUILT_IN_REALM

Role = Literal["admin", "user"]
State = Literal["pending", "active", "deleting"]


class SecondFactor(msgspec.Struct, frozen=True, kw_only=True):
    """A TOTP authenticator (RFC 6238)."""

    # Sealed under the master key for the identity's id.
    secret: str
    # False until the person has shown a first code.
    enabled: bool = False
    # The last time step of which a code was accepted; it and all before it are spent.
    last_step: int = 0
    # SHA-256 of the recovery codes that are left.
    recovery_codes: list[str] = msgspec.field(default_factory=list)


class MailToken(msgspec.Struct, frozen=True, kw_only=True):
    """What a link sent by mail proves. It lies in the identity it is for, so that using it up and what it does are one
    atomic change of one document; there is one live token per purpose."""

    # Hex SHA-256 of the token.
    hash: str
    expires: str
    # The address that the token was sent to and is about.
    email: str


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """An account: a built-in user, or the member of an auth collection, by realm.

    Unique: `id` over everything, `(realm, email_key)`, and `founder`, which only the first admin carries.
    """

    id: str
    # "users", or the id of the auth collection.
    realm: str
    email: str
    email_key: str
    name: str | None = None
    role: Role = "user"
    superadmin: bool = False
    founder: bool | None = None
    verified: bool = False
    disabled: bool = False
    state: State = "active"
    # Null where the person signs in by other means only.
    password_hash: str | None = None
    # The hashes before, the newest first, as many as the policy wants.
    password_history: list[str] = msgspec.field(default_factory=list)
    # Goes up with every change after which sessions must not outlive it: a sign-in that began before does not finish.
    epoch: int = 0
    second_factor: SecondFactor | None = None
    # By purpose.
    mail_tokens: dict[str, MailToken] = msgspec.field(default_factory=dict)
    # While `pending`: when its registration counts as given up.
    pending_until: str | None = None
    # The profile does not have the e-mail and `verified` of this identity yet.
    profile_stale: bool = False
    created: str
    updated: str
    last_login: str | None = None

    @property
    def built_in(self) -> bool:
        return self.realm == BUILT_IN_REALM

    @property
    def rank(self) -> int:
        """Who stands above whom: user 0, admin 1, superadmin 2."""
        if self.role != "admin" or not self.built_in:
            return 0
        return 2 if self.superadmin else 1

    @property
    def mfa_enabled(self) -> bool:
        return self.second_factor is not None and self.second_factor.enabled


class PendingMail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail that has not been handed over yet."""

    id: str
    purpose: str
    # The whole message (RFC 5322), sealed for the id: links and codes in it are secrets.
    message: str
    created: str
    # When to try (again).
    due: str
    attempts: int = 0


class OAuthProvider(msgspec.Struct, frozen=True, kw_only=True):
    """An identity provider that an admin has set up."""

    id: str
    # Unique; part of the paths.
    name: str
    display_name: str
    kind: Literal["google", "github", "microsoft", "oidc"]
    client_id: str
    # Sealed for the id.
    client_secret: str | None = None
    issuer: str | None = None
    scopes: list[str] = msgspec.field(default_factory=list)
    enabled: bool = True
    created: str
    updated: str


class OAuthLink(msgspec.Struct, frozen=True, kw_only=True):
    """That somebody at a provider is an identity here. `id` is a hash of realm, provider and subject."""

    id: str
    identity_id: str
    provider_id: str
    subject: str
    email: str | None
    created: str


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """An Ed25519 key. `id` is its number, so that two replicas cannot both make the same next one."""

    id: str
    # RFC 7638 thumbprint of the public key.
    kid: str
    # base64url of the 32 public bytes.
    public: str
    # The 32 private bytes, sealed for the kid.
    private: str
    created: str
    # Signs from this moment on; published before.
    active_from: str


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """An impersonation, running or over. `id` is its session's."""

    id: str
    actor_id: str
    actor_email: str
    target_id: str
    reason: str | None
    started: str
    expires: str
    ended: str | None = None


def to_document(value: msgspec.Struct) -> dict[str, Any]:
    """The document of a model."""
    document: dict[str, Any] = msgspec.to_builtins(value)
    return document
