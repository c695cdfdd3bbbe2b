"""With HYPOTHESIS_PROFILE=nightly so much is tried that no test is done within the time that tests have otherwise."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

NIGHTLY_SECONDS = 3600


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    if os.environ.get("HYPOTHESIS_PROFILE") == "nightly":
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.timeout(NIGHTLY_SECONDS))
