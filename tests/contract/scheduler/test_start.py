"""How the processes start and end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.scheduler.system import System

KEY = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("module", "setting", "value", "line"),
    [
        ("scheduler_service", "SERVICE_KEY_FILE", "", "SERVICE_KEY_FILE: is needed"),
        ("scheduler_service.worker", "SERVICE_KEY_FILE", "", "SERVICE_KEY_FILE: is needed"),
        ("scheduler_service.worker", "SERVICE_KEY_FILE", "/nonesuch", "SERVICE_KEY_FILE: "),
        ("scheduler_service.worker", "WORKER_ROLE", "boss", "WORKER_ROLE: "),
        (
            "scheduler_service",
            "TASK_INTERVALS",
            '{"collect_metrics": "soon"}',
            "TASK_INTERVALS_COLLECT_METRICS: must be",
        ),
        ("scheduler_service", "METRICS_TARGETS", "gateway", "METRICS_TARGETS: 'gateway' is not name=host:port"),
        ("scheduler_service", "LEASE_SECONDS", "0", "LEASE_SECONDS: "),
        ("scheduler_service.worker", "BEAT_SECONDS", "10", "settings: BEAT_LOCK_SECONDS must be at least twice"),
    ],
)
def test_a_bad_setting_is_one_clear_line_and_exit_code_2(
    tmp_path: Path, module: str, setting: str, value: str, line: str
):
    key = tmp_path / "service.key"
    key.write_text(KEY)
    environment = {
        "SERVICE_KEY_FILE": str(key),
        "STORAGE_URL": f"sqlite:///{tmp_path}/scheduler.db",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        setting: value,
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", module],
        env=os.environ | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"fastcms: {line}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("role", ["both", "worker", "beat"])
async def test_what_waits_for_redis_and_the_service_waits_quietly_and_stops_at_once(system: System, role: str):
    process = system.start_worker(role, REDIS_URL="redis://127.0.0.1:1/0")
    await process.says("waits for Redis" if role != "worker" else "Cannot connect")
    assert await process.stop() == 0
    assert "Traceback" not in process.log
    assert '"stopped"' in process.log
