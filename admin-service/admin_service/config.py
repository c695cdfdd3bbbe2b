"""The settings of admin-service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from fastcms_common.settings import ProcessSettings


class Settings(ProcessSettings):
    """What all processes have. The key that the services share is needed here: audit checkpoints are signed with it."""

    service_key_file: Path = Field(...)
    # Days that audit events are kept; 0: for good.
    audit_retention_days: int = Field(365, ge=0, le=36500)
