"""The `fastcms` command, run as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def fastcms(
    data_dir: Path, *arguments: str | Path, typed: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs `fastcms <arguments>` on the suite of a data folder, with `typed` on its standard input."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "fastcms_cli", *map(str, arguments)],
        input=typed or "",
        env=os.environ | {"FASTCMS_DATA_DIR": str(data_dir)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
