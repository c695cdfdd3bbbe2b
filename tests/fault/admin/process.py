"""admin-service as a process that a test can kill."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastcms_cli.processes import dies_with


def start(settings: Mapping[str, Any], log: Path) -> subprocess.Popen[bytes]:
    """Starts a replica with these settings; its log is appended to `log`."""
    environment = os.environ | {name.upper(): str(value) for name, value in settings.items()}
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "admin_service"],
            env=environment,
            stdout=output,
            stderr=output,
            preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509 see there
        )
