"""Asking a service's own code to do something to its data, in a process of its own: services are not imported here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from fastcms_cli.deployment import Deployment, Failed
from fastcms_cli.suite import SERVICES

LINES_KEPT = 3
TOGETHER = {member.module: member.stores for member in SERVICES}


def call(deployment: Deployment, redis_url: str, module: str, operation: str, **asked: Any) -> dict[str, Any]:
    """Runs `<module>.maintenance <operation>` on the deployment's data; its answer. Raises Failed with its own line."""
    process = subprocess.run(
        [sys.executable, "-P", "-m", f"{module}.maintenance", operation],
        input=json.dumps(asked).encode(),
        capture_output=True,
        env=_environment(deployment, redis_url, TOGETHER[module] or ""),
        check=False,
    )
    if process.returncode:
        lines = process.stderr.decode(errors="replace").strip().splitlines()
        said = [line.removeprefix("fastcms: ") for line in lines if line.startswith("fastcms: ")] or lines[-LINES_KEPT:]
        raise Failed(" ".join(said) or f"{module} ended with exit code {process.returncode}")
    answer: dict[str, Any] = json.loads(process.stdout)
    return answer


def _environment(deployment: Deployment, redis_url: str, database: str) -> Mapping[str, str]:
    """That of the service: what this process was told, but for where the data is."""
    decided = ("REDIS_URL_FILE", "STORAGE_URL_FILE", "ADMIN_EMAIL", "ADMIN_PASSWORD", "ADMIN_PASSWORD_FILE")
    inherited = {name: value for name, value in os.environ.items() if name.upper() not in decided}
    return inherited | {
        "DATA_DIR": str(deployment.folder),
        "REDIS_URL": redis_url,
        "STORAGE_URL": deployment.storage_urls()[database],
        "MASTER_KEY_FILE": str(deployment.master_key),
        "SERVICE_KEY_FILE": str(deployment.service_key),
        "LOG_LEVEL": "error",
    }
