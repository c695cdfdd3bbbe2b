"""Which engines a test runs on."""

from __future__ import annotations

import pytest

# For what is refused before the database is asked: once is enough.
on_one_engine = pytest.mark.parametrize("storage", ["sqlite"], indirect=True)
