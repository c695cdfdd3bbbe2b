"""The settings of admin-service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from fastcms_common.settings import ProcessSettings


class Settings(ProcessSettings):
    """What all processes have. The key that the services share is needed here: audit checkpoints are signed with it.

    Names that are also keys of `/api/v1/settings` say what is in force until an admin changes it there.
    """

    service_key_file: Path = Field(...)

    # Days that audit events are kept; 0: for good.
    audit_retention_days: int = Field(365, ge=0, le=36500)
    rate_limits_enabled: bool = True
    rate_limit_credentials_per_minute: int = Field(10, ge=1, le=1_000_000)
    rate_limit_requests_per_minute: int = Field(600, ge=1, le=10_000_000)
