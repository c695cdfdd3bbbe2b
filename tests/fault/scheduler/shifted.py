"""Runs a module of the scheduler with a clock on the wall that the test can set: `shifted.py <file> <module> [args]`.

The file holds the seconds by which the clock is wrong. Only the clock is exchanged; all that reads it is as it is.
"""

from __future__ import annotations

import runpy
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from celery import Celery

from fastcms_common import times


def main() -> None:
    file, module = Path(sys.argv[1]), sys.argv[2]

    def shifted() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(file.read_text()))

    times.now = shifted
    Celery.now = lambda _: shifted()
    sys.argv = [module, *sys.argv[3:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
