"""How many examples are tried."""

from __future__ import annotations

import os

from hypothesis import settings

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
many = settings(max_examples=20_000 if NIGHTLY else 200, deadline=None)
