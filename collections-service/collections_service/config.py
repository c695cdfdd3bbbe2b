"""What collections-service is told at start, by the environment."""

from __future__ import annotations

from fastcms_common.settings import ProcessSettings

NAME = "collections-service"


class Settings(ProcessSettings):
    """Process settings of collections-service: those that every process has."""
