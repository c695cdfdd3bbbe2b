"""The `fastcms` command, run as a person runs it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path


def fastcms(
    data_dir: Path,
    *arguments: str | Path,
    typed: str | None = None,
    largest_file: int = resource.RLIM_INFINITY,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Runs `fastcms <arguments>` on the suite of a data folder, with `typed` on its standard input. What it writes
    behind the first `largest_file` bytes of a file is refused, as by a disk that is full."""
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest_file}, {largest_file}))"
    return subprocess.run(
        [sys.executable, "-P", "-c", f"{limited}; from fastcms_cli.__main__ import main; main()", *map(str, arguments)],
        input=typed or "",
        env=os.environ | {"FASTCMS_DATA_DIR": str(data_dir)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
