"""A system for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.scheduler.system import System, scheduler_system


@pytest.fixture
async def system(tmp_path: Path, redis_url: str) -> AsyncIterator[System]:
    """Owners and stubs; the test starts the processes that it wants."""
    async with scheduler_system(tmp_path, redis_url) as running:
        yield running
