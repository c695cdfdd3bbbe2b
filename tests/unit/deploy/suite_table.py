"""The processes of the suite, as the run command's table has them, and as deployments call them."""

from __future__ import annotations

from typing import Any

from pydantic_settings import BaseSettings

from admin_service.config import Settings as AdminSettings
from auth_service.config import Settings as AuthSettings
from collections_service.config import Settings as CollectionsSettings
from fastcms_cli.suite import GATEWAY, SERVICES, WORKER, Member
from gateway.config import Settings as GatewaySettings
from scheduler_service.config import ServiceSettings, WorkerSettings

BEAT = "scheduler-beat"
MEMBERS: dict[str, Member] = {member.name: member for member in (*SERVICES, GATEWAY, WORKER)} | {BEAT: WORKER}
"""By name. A deployment has worker and beat apart, which the bare run has in one process."""

SETTINGS: dict[str, type[BaseSettings]] = {
    "gateway": GatewaySettings,
    "auth-service": AuthSettings,
    "collections-service": CollectionsSettings,
    "admin-service": AdminSettings,
    "scheduler-service": ServiceSettings,
    "scheduler-worker": WorkerSettings,
    BEAT: WorkerSettings,
}

STORING = {member.name: member.stores for member in SERVICES}

NEEDS_SERVICE_KEY = {"auth-service", "admin-service", "scheduler-service", "scheduler-worker", BEAT}


def image_of(name: str) -> str:
    """The image of a process: worker and beat are the scheduler's package."""
    return "fastcms-scheduler-service" if name.startswith("scheduler") else f"fastcms-{name}"


def unknown_names(name: str, environment: dict[str, Any]) -> set[str]:
    """The variables that the process `name` would not read, neither as they are nor as the name of a file.

    OTEL_* are read by OpenTelemetry's SDK.
    """
    known = {field.upper() for field in SETTINGS[name].model_fields}
    ours = {variable for variable in environment if not variable.startswith("OTEL_")}
    return ours - known - {f"{field}_FILE" for field in known}
