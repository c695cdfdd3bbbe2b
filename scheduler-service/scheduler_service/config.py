"""What scheduler-service and its workers are told at start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, FilePath, model_validator
from pydantic_settings import NoDecode

from fastcms_common.settings import ProcessSettings
from scheduler_service.schedules import parse_interval
from scheduler_service.scraping import parse_targets

# The name under which service and workers prove themselves to auth-service.
SERVICE = "scheduler-service"


def _interval(text: str) -> str:
    return parse_interval(text).text


IntervalText = Annotated[str, AfterValidator(_interval)]


def _hosts(value: object) -> object:
    return (
        frozenset(host.strip().lower() for host in value.split(",") if host.strip())
        if isinstance(value, str)
        else value
    )


Hosts = Annotated[frozenset[str], NoDecode, BeforeValidator(_hosts)]


def _targets(value: object) -> object:
    return parse_targets(value) if isinstance(value, str) else value


Targets = Annotated[dict[str, str], NoDecode, BeforeValidator(_targets)]


class SchedulerSettings(ProcessSettings):
    """What the service and its workers share."""

    # Hosts, separated by commas, that HTTP jobs may call though their addresses are private, and be redirected to.
    http_job_allowed_hosts: Hosts = frozenset()
    # Seconds after which a worker that has not renewed its lease is taken for dead.
    lease_seconds: float = Field(30.0, ge=0.2, le=3600)
    # Where workers put the files of export jobs and the service reads them: one folder that all of them see. `exports`
    # in the data folder where it is not said.
    export_dir: Path | None = None

    @property
    def exports(self) -> Path:
        """The folder of the files of export jobs."""
        return self.export_dir or self.data_dir / "exports"


class ServiceSettings(SchedulerSettings):
    """The ledger's own."""

    # Intervals of the suite's tasks in place of those they come with, such as {"collect_metrics": "5m"}. What an admin
    # sets by PATCH goes before.
    task_intervals: dict[str, IntervalText] = Field(default_factory=dict)
    # The shortest interval that an admin may set, in seconds.
    min_interval_seconds: float = Field(10.0, ge=0.1)
    # A run that starts this many seconds after its due time is marked as made up.
    made_up_after_seconds: float = Field(60.0, gt=0)
    # Workers that may die on one run before it is given up as failed.
    max_attempts: int = Field(5, ge=1, le=100)
    # The history of a task: days and number of runs that are kept.
    run_history_days: float = Field(30.0, gt=0)
    run_history_runs: int = Field(1000, ge=1)
    # The processes that collect_metrics asks, as name=host:port separated by commas, and the days that points are kept.
    metrics_targets: Targets = Field(default_factory=dict)
    metrics_days: float = Field(7.0, gt=0)


class WorkerSettings(SchedulerSettings):
    """The worker's and the beat's own."""

    # What this process is: both in the bare run; deployments scale them separately.
    worker_role: Literal["both", "worker", "beat"] = "both"
    # Tasks that run at the same time in this process.
    worker_concurrency: int = Field(4, ge=1, le=64)
    # Certificate authorities (PEM) that HTTP jobs trust beside the public ones.
    http_job_ca_file: FilePath | None = None
    # Seconds between two looks of a beat at the schedules in the ledger, and at most between two ticks.
    beat_seconds: float = Field(2.0, ge=0.1, le=60)
    # Seconds after which a beat that has died is replaced by one that stands by.
    beat_lock_seconds: float = Field(15.0, ge=0.5, le=600)
    # Seconds after which a message that a dead worker had taken is delivered again.
    visibility_timeout_seconds: int = Field(300, ge=1)

    @model_validator(mode="after")
    def _lock_outlives_ticks(self) -> WorkerSettings:
        if self.beat_lock_seconds < 2 * self.beat_seconds:
            raise ValueError("BEAT_LOCK_SECONDS must be at least twice BEAT_SECONDS")
        return self
