"""What the ledger keeps: tasks with the run that is going on, and runs that are over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from fastcms_common.times import from_text
from scheduler_service.schedules import Schedule, parse_interval

Kind = Literal["system", "http", "truncate", "export"]
Trigger = Literal["schedule", "manual"]


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """The one run of a task that waits for a worker or is being done. Times are canonical text.

    `beats` counts the renewals of its lease: whoever sees it stand still for the length of a lease knows that the
    worker is gone, whatever anybody's clock says.
    """

    id: str
    trigger: Trigger
    created: str
    due: str
    """The due time of a scheduled run; the run's own id for one that was triggered by hand. Unique for a task."""
    triggered_by: str | None = None
    made_up: bool = False
    missed: int = 0
    claimed: bool = False
    worker: str | None = None
    started: str | None = None
    attempts: int = 0
    beats: int = 0


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that is over; a row of the history."""

    id: str
    task: str
    trigger: Trigger
    due: str
    started: str
    finished: str
    status: Literal["succeeded", "failed"]
    duration_ms: int
    fence: int
    triggered_by: str | None = None
    made_up: bool = False
    missed: int = 0
    attempts: int = 1
    result: Any = None
    error: str | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> FinishedRun:
        return cls(**document)

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Task:
    """A task, its schedule, and what it is doing. The id is the name.

    Everything that has to change together is in this one document, guarded by `revision`.
    """

    id: str
    kind: Kind
    interval: str
    slot: str
    """The newest due time that has been dealt with. Only what is due after it is ever run."""
    enabled: bool = True
    own_interval: bool = False
    """An admin has set the interval: a new default does not change it."""
    description: str = ""
    anchor: str | None = None
    fence: int = 0
    """The fencing token of the last claim: greater with each."""
    revision: int = 0
    active: ActiveRun | None = None
    closing: FinishedRun | None = None
    """The run that was finished last, until its row is in the history."""
    last_started: str | None = None
    last_status: Literal["succeeded", "failed"] | None = None
    last_duration_ms: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    created_by: str | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Task:
        fields = dict(document)
        if fields.get("active"):
            fields["active"] = ActiveRun(**fields["active"])
        if fields.get("closing"):
            fields["closing"] = FinishedRun.of(fields["closing"])
        return cls(**fields)

    def document(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def schedule(self) -> Schedule:
        return parse_interval(self.interval, from_text(self.anchor) if self.anchor else None)

    @property
    def status(self) -> Literal["idle", "running", "disabled"]:
        if self.active is not None:
            return "running"
        return "idle" if self.enabled else "disabled"
