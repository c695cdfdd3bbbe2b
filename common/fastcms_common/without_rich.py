"""Libraries that load rich wherever they find it, loaded without: five MiB in each process, for colours nobody sees.

structlog wants it for tracebacks, httpx for a command line of its own. Both do without where it is not there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_rich() -> Iterator[None]:
    """While this lasts rich cannot be imported, unless it has been already; afterwards it can."""
    if "rich" in sys.modules:
        yield
        return
    sys.modules["rich"] = None  # type: ignore[assignment] # import raises ImportError for what is None here
    try:
        yield
    finally:
        del sys.modules["rich"]
