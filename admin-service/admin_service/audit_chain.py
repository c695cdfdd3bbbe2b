"""The hash chain over the audit log, and the signed checkpoints that say how far it had come.

Row n holds the hash of row n-1 (`previous`) and its own (`hash`): SHA-256 over the canonical JSON (keys sorted, no
spaces, UTF-8) of everything else in the row. So an edited, a removed or a reordered row breaks a link. What a chain
alone cannot show is that its last rows are gone, or that everything behind a place was written anew; that is what
checkpoints are for: `position`, `hash` and `event_id` of a row, signed with Ed25519 (RFC 8032) with a key that the
database does not hold.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain ends: the position of its last row (0: none yet), that row's hash and event id."""

    position: int = 0
    hash: str = GENESIS
    event_id: str = ""


def row_hash(row: Mapping[str, Any]) -> str:
    """Hex SHA-256 of a row, which already holds its `position` and `previous`."""
    # Null and missing are one value in storage, so they are one here.
    content = {key: value for key, value in row.items() if key != "hash" and value is not None}
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def link(row: Mapping[str, Any], head: Head) -> dict[str, Any]:
    """The row as the next one behind `head`."""
    linked = {**row, "position": head.position + 1, "previous": head.hash}
    linked["hash"] = row_hash(linked)
    return linked


def head_of(row: Mapping[str, Any]) -> Head:
    """The head that the chain has where `row` is its last one."""
    return Head(row["position"], row["hash"], row["id"])


def flaw(row: Mapping[str, Any], head: Head) -> str | None:
    """What is wrong with `row` as the next one behind `head`, in words; None where nothing is."""
    position, previous, digest = row.get("position"), row.get("previous"), row.get("hash")
    if position != head.position + 1:
        return f"position {position} follows position {head.position}"
    if row_hash(row) != digest:
        return "its content does not have its hash"
    if previous != head.hash:
        return "it does not continue the row before it"
    return None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement about the chain.

    `head`: it had come to this row. `floor`: the rows up to and with this one were removed by retention.
    """

    kind: Literal["head", "floor"]
    position: int
    hash: str
    event_id: str
    created: str
    key_id: str = ""
    signature: str = ""

    @property
    def at(self) -> Head:
        return Head(self.position, self.hash, self.event_id)

    def statement(self) -> bytes:
        """The bytes that are signed."""
        return orjson.dumps(
            ["fastcms-audit-checkpoint", self.kind, self.position, self.hash, self.event_id, self.created, self.key_id]
        )


def checkpoint_of(found: Mapping[str, Any]) -> Checkpoint:
    """A checkpoint as it was kept; one that nobody has signed where it cannot be read any more."""
    names = Checkpoint.__dataclass_fields__
    readable = all(isinstance(found.get(name), int if name == "position" else str) for name in names)
    return Checkpoint(**{name: found[name] for name in names}) if readable else Checkpoint("head", 0, GENESIS, "", "")


class CheckpointKey:
    """The Ed25519 key of the checkpoints, derived from the key that the services share (HKDF, RFC 5869).

    All replicas derive the same one; nothing of it is stored, so whoever can write the database cannot sign. What was
    signed with the key of a further service key is genuine still, while that is being exchanged.
    """

    def __init__(self, *service_keys: bytes) -> None:
        keys = [_derived(key) for key in service_keys]
        self._private = keys[0]
        self._accepted = [key.public_key() for key in keys]
        self._x = base64.urlsafe_b64encode(self._accepted[0].public_bytes_raw()).rstrip(b"=").decode()
        # RFC 7638 and RFC 8037: the thumbprint of the key is its id.
        thumbprint = hashlib.sha256(orjson.dumps({"crv": "Ed25519", "kty": "OKP", "x": self._x})).digest()
        self.key_id = base64.urlsafe_b64encode(thumbprint).rstrip(b"=").decode()

    def jwk(self) -> dict[str, str]:
        """The public half (RFC 8037), for anyone who wants to check an export."""
        return {"kty": "OKP", "crv": "Ed25519", "x": self._x, "kid": self.key_id, "use": "sig", "alg": "EdDSA"}

    def sign(self, kind: Literal["head", "floor"], head: Head, created: str) -> Checkpoint:
        unsigned = Checkpoint(kind, head.position, head.hash, head.event_id, created, self.key_id)
        signature = base64.urlsafe_b64encode(self._private.sign(unsigned.statement())).rstrip(b"=").decode()
        return Checkpoint(kind, head.position, head.hash, head.event_id, created, self.key_id, signature)

    def verifies(self, checkpoint: Checkpoint) -> bool:
        """Whether this key signed it, or one that is good still."""
        return any(_signed(key, checkpoint) for key in self._accepted)

    def renewed(self, checkpoint: Checkpoint) -> Checkpoint | None:
        """The same statement, signed with this key; None where it is already, or nobody of ours has signed it."""
        if checkpoint.key_id == self.key_id or not self.verifies(checkpoint):
            return None
        return self.sign(checkpoint.kind, checkpoint.at, checkpoint.created)


def _derived(service_key: bytes) -> Ed25519PrivateKey:
    seed = HKDF(SHA256(), length=32, salt=None, info=b"fastcms audit checkpoints v1").derive(service_key)
    return Ed25519PrivateKey.from_private_bytes(seed)


def _signed(key: Ed25519PublicKey, checkpoint: Checkpoint) -> bool:
    try:
        key.verify(base64.urlsafe_b64decode(checkpoint.signature + "=="), checkpoint.statement())
    except (InvalidSignature, ValueError):
        return False
    return True
