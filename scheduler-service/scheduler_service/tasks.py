"""The suite's own tasks: each beside its schedule and what it is for, each a thin call to an idempotent rpc.

The rpc is the owner's; it says how much it did, and checks the fencing token so that a worker that was taken for dead
changes nothing any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc.aio

from fastcms.admin.v1 import audit_pb2, audit_pb2_grpc, ip_rules_pb2, ip_rules_pb2_grpc
from fastcms.auth.v1 import identities_pb2, identities_pb2_grpc, keys_pb2, keys_pb2_grpc
from fastcms.scheduler.v1 import metrics_pb2, metrics_pb2_grpc

# Seconds after which a signing key gets a successor: 30 days.
_KEY_AGE = 30 * 86400
# Seconds that the owner of a task has for it. Its lease is renewed meanwhile.
DEADLINE = 600.0


@dataclass(frozen=True, slots=True)
class Services:
    """The channels by which tasks reach the services that own the work."""

    auth: grpc.aio.Channel
    admin: grpc.aio.Channel
    collections: grpc.aio.Channel
    scheduler: grpc.aio.Channel


Call = Callable[[Services, int], Awaitable[dict[str, Any]]]
"""Does the work, given the services and the fencing token; says how much it did."""


@dataclass(frozen=True, slots=True)
class SystemTask:
    """A task of the suite. `interval` is the default; an admin may set another."""

    name: str
    interval: str
    description: str
    call: Call


TASKS: dict[str, SystemTask] = {}


def _task(interval: str, description: str) -> Callable[[Call], Call]:
    def register(call: Call) -> Call:
        name: str = call.__name__
        TASKS[name] = SystemTask(name, interval, description, call)
        return call

    return register


@_task("1h", "Drops sessions, refresh tokens and mailed tokens that have expired.")
async def cleanup_expired_tokens(services: Services, fencing_token: int) -> dict[str, Any]:
    identities = identities_pb2_grpc.IdentitiesServiceStub(services.auth)
    answer = await identities.DeleteExpiredTokens(
        identities_pb2.DeleteExpiredTokensRequest(fencing_token=fencing_token), timeout=DEADLINE
    )
    return {"deleted": answer.deleted}


@_task("24h", "Drops the address rules whose time is over.")
async def cleanup_expired_ip_rules(services: Services, fencing_token: int) -> dict[str, Any]:
    rules = ip_rules_pb2_grpc.IpRulesServiceStub(services.admin)
    answer = await rules.DeleteExpiredIpRules(
        ip_rules_pb2.DeleteExpiredIpRulesRequest(fencing_token=fencing_token), timeout=DEADLINE
    )
    return {"deleted": answer.deleted}


@_task("24h", "Drops audit events that are older than the settings say they are kept.")
async def cleanup_audit_logs(services: Services, fencing_token: int) -> dict[str, Any]:
    audit = audit_pb2_grpc.AuditServiceStub(services.admin)
    answer = await audit.DeleteOldAuditEvents(
        audit_pb2.DeleteOldAuditEventsRequest(fencing_token=fencing_token), timeout=DEADLINE
    )
    return {"deleted": answer.deleted}


@_task(
    "5m", "Finishes or undoes what a crash has left between accounts and profiles; closes impersonations that are over."
)
async def reconcile_identities(services: Services, fencing_token: int) -> dict[str, Any]:
    identities = identities_pb2_grpc.IdentitiesServiceStub(services.auth)
    answer = await identities.ReconcileIdentities(
        identities_pb2.ReconcileIdentitiesRequest(fencing_token=fencing_token), timeout=DEADLINE
    )
    return {"undone": answer.undone, "removed": answer.removed, "updated": answer.updated}


@_task(
    "24h", "Makes a new signing key when the newest is 30 days old, and withdraws those that nothing needs any more."
)
async def rotate_signing_keys(services: Services, fencing_token: int) -> dict[str, Any]:
    keys = keys_pb2_grpc.KeysServiceStub(services.auth)
    answer = await keys.RotateSigningKeys(
        keys_pb2.RotateSigningKeysRequest(fencing_token=fencing_token, older_than=_KEY_AGE), timeout=DEADLINE
    )
    return {"kid": answer.kid, "withdrawn": answer.withdrawn}


@_task("1m", "Sends mail that could not be sent when it was written.")
async def send_pending_mail(services: Services, fencing_token: int) -> dict[str, Any]:
    identities = identities_pb2_grpc.IdentitiesServiceStub(services.auth)
    answer = await identities.SendPendingMail(
        identities_pb2.SendPendingMailRequest(fencing_token=fencing_token), timeout=DEADLINE
    )
    return {"sent": answer.sent, "failed": answer.failed}


@_task("1m", "Asks every process how it is doing, for the charts of the dashboard.")
async def collect_metrics(services: Services, fencing_token: int) -> dict[str, Any]:
    metrics = metrics_pb2_grpc.MetricsServiceStub(services.scheduler)
    answer = await metrics.CollectMetrics(
        metrics_pb2.CollectMetricsRequest(fencing_token=fencing_token), timeout=DEADLINE
    )
    return {"up": answer.up, "down": answer.down}
