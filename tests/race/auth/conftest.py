"""What races need of a storage engine."""

from __future__ import annotations

import pytest

from tests.mongo_server import ATOMIC_CHANGES, ONE_WINNER
from tests.storages import Storage


@pytest.fixture
def one_winner(storage: Storage) -> None:
    """For tests that rest on a change of one document being atomic: skips stand-ins whose changes are not."""
    storage.needs(ONE_WINNER, ATOMIC_CHANGES)
