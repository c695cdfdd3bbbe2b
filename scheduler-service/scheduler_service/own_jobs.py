"""The jobs that admins add: what they may ask for, and what is shown of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fastcms_common.errors import Conflict, FieldError, Invalid
from scheduler_service.http_targets import is_public, literal_address, parse_url
from scheduler_service.sealing import Seal

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
MASK = "***"
DEFAULT_TIMEOUT, DEFAULT_RETRIES = 30, 3
DEFAULT_FORMAT, DEFAULT_KEEP = "ndjson", 7

# RFC 9110, 5.6.2 and 5.5. Everything else in a header could end it and begin another.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")
_MAX_VALUE = 4096
# What belongs to the connection and not to the job.
_REFUSED_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "proxy-authorization",
     "accept-encoding", "idempotency-key", "expect"}
)  # fmt: skip
# What the suite says of a run is nobody else's to say.
_REFUSED_PREFIX = "fastcms-"
# Who may edit a job may not see its secrets, and so may not have them sent to where they can be seen.
_GIVE_ANEW = FieldError("headers", "Give secret values anew: the URL leads elsewhere.")
# Headers that are known to hold no secret; the values of all others are masked.
_SHOWN_HEADERS = frozenset({"accept", "accept-language", "cache-control", "content-type", "user-agent"})
_FIELDS: Mapping[str, frozenset[str]] = {
    "http": frozenset({"method", "url", "headers", "body", "timeout", "retries"}),
    "truncate": frozenset({"collection"}),
    "export": frozenset({"collection", "format", "keep"}),
}


@dataclass(frozen=True, slots=True)
class Draft:
    """What an admin wants a job to be. None: not said."""

    method: str | None = None
    url: str | None = None
    headers: Mapping[str, str] | None = None
    body: str | None = None
    timeout: int | None = None
    retries: int | None = None
    collection: str | None = None
    format: str | None = None
    keep: int | None = None


class OwnJobs:
    """Turns drafts into the parameters that are stored, and those into what is run and what is shown."""

    def __init__(self, seal: Seal, allowed_hosts: frozenset[str]) -> None:
        self._seal = seal
        self._allowed_hosts = allowed_hosts

    def parameters(self, name: str, kind: str, draft: Draft, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What to store for the job, on top of what is stored already. Raises Invalid naming each bad field."""
        problems = [
            FieldError(field.name, f"A job of the type {kind} has none.")
            for field in fields(draft)
            if getattr(draft, field.name) is not None and field.name not in _FIELDS[kind]
        ]
        if kind == "http":
            stored = self._http(name, draft, before or {}, problems)
        else:
            stored = self._about_collection(kind, draft, before or {}, problems)
        if problems:
            raise Invalid(problems)
        return stored

    def to_run(self, name: str, kind: str, stored: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters for a worker, secrets in the clear."""
        if kind != "http":
            return dict(stored)
        return {**stored, "headers": self._seal.open(name, stored["headers"]) if stored["headers"] else {}}

    def to_show(self, name: str, stored: Mapping[str, Any]) -> dict[str, str]:
        """The headers of an HTTP job, those that may be secrets masked."""
        if not stored.get("headers"):
            return {}
        try:
            headers = self._seal.open(name, stored["headers"])
        except Conflict:
            # One job whose secrets are lost must not hide the others; its own runs say what is wrong.
            return {}
        return {key: value if key.lower() in _SHOWN_HEADERS else MASK for key, value in headers.items()}

    def _http(self, name: str, draft: Draft, before: Mapping[str, Any], problems: list[FieldError]) -> dict[str, Any]:
        url = draft.url if draft.url is not None else before.get("url")
        if not url:
            problems.append(FieldError("url", "This field is required."))
        elif draft.url is not None:
            self._check_url(draft.url, problems)
        sealed = before.get("headers")
        moved = draft.url is not None and sealed is not None and _origin(draft.url) != _origin(before["url"])
        if draft.headers is not None:
            old = self._seal.open(name, sealed) if sealed is not None and MASK in draft.headers.values() else {}
            if old and moved:
                problems.append(_GIVE_ANEW)
            headers = _headers(draft.headers, old, problems)
            sealed = self._seal.close(name, headers) if headers else None
        elif moved and MASK in self.to_show(name, before).values():
            problems.append(_GIVE_ANEW)
        method = draft.method or before.get("method", "GET")
        body = draft.body if draft.body is not None else before.get("body")
        if body and method in ("GET", "HEAD"):
            problems.append(FieldError("body", f"A {method} request has none."))
        elif body and "\0" in body:
            problems.append(FieldError("body", "Must not contain the NUL character."))
        return {
            "method": method,
            "url": url,
            "headers": sealed,
            "body": body or None,
            "timeout": draft.timeout if draft.timeout is not None else before.get("timeout", DEFAULT_TIMEOUT),
            "retries": draft.retries if draft.retries is not None else before.get("retries", DEFAULT_RETRIES),
        }

    @staticmethod
    def _about_collection(
        kind: str, draft: Draft, before: Mapping[str, Any], problems: list[FieldError]
    ) -> dict[str, Any]:
        collection = draft.collection if draft.collection is not None else before.get("collection")
        if not collection:
            problems.append(FieldError("collection", "This field is required."))
        elif not NAME.fullmatch(collection):
            problems.append(FieldError("collection", f"It must match ^{NAME.pattern}$."))
        if kind == "truncate":
            return {"collection": collection}
        return {
            "collection": collection,
            "format": draft.format or before.get("format", DEFAULT_FORMAT),
            "keep": draft.keep if draft.keep is not None else before.get("keep", DEFAULT_KEEP),
        }

    def _check_url(self, url: str, problems: list[FieldError]) -> None:
        try:
            target = parse_url(url)
        except ValueError as error:
            problems.append(FieldError("url", f"It {error}."))
            return
        # A name is judged when the job runs: what it resolves to now says nothing about then.
        address = literal_address(target.host)
        local = target.host == "localhost" or target.host.endswith((".localhost", ".local", ".internal"))
        if target.host not in self._allowed_hosts and (local or (address is not None and not is_public(address))):
            problems.append(FieldError("url", "It must lead to a public address."))


def _origin(url: str) -> tuple[str, str, int] | None:
    """Who gets what is sent to a URL; None where that is no URL."""
    try:
        target = parse_url(url)
    except ValueError:
        return None
    return target.scheme, target.host, target.port


def _headers(given: Mapping[str, str], old: Mapping[str, str], problems: list[FieldError]) -> dict[str, str]:
    headers: dict[str, str] = {}
    known = {key.lower(): value for key, value in old.items()}
    seen: set[str] = set()
    for key, value in given.items():
        field = f"headers.{key[:100]}"
        low = key.lower()
        if not _HEADER_NAME.fullmatch(key) or low in _REFUSED_HEADERS or low.startswith(_REFUSED_PREFIX):
            problems.append(FieldError(field, "This header cannot be set."))
        elif low in seen:
            problems.append(FieldError(field, "This header is named twice."))
        elif value == MASK and low in known:
            headers[key] = known[low]
        elif len(value) > _MAX_VALUE or not _HEADER_VALUE.fullmatch(value) or value == MASK:
            problems.append(FieldError(field, "It must be printable ASCII text."))
        else:
            headers[key] = value
        seen.add(low)
    return headers
