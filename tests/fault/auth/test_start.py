"""A bad setting stops auth-service with one clear line and exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.auth.server import key_file


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"MASTER_KEY_FILE": "missing"}, "MASTER_KEY_FILE"),
        ({"MASTER_KEY_FILE": "short.key"}, "MASTER_KEY_FILE"),
        ({"SERVICE_KEY_FILE": "missing"}, "SERVICE_KEY_FILE"),
        ({"PASSWORD_MIN_LENGTH": "0"}, "PASSWORD_MIN_LENGTH"),
        ({"PASSWORD_MIN_LENGTH": "100", "PASSWORD_MAX_LENGTH": "50"}, "PASSWORD_MIN_LENGTH is above"),
        ({"ACCOUNT_LOCKOUT_ENABLED": "perhaps"}, "ACCOUNT_LOCKOUT_ENABLED"),
        ({"ADMIN_EMAIL": "root@example.com"}, "ADMIN_EMAIL and ADMIN_PASSWORD go together"),
        ({"ADMIN_EMAIL": "nonsense", "ADMIN_PASSWORD": "correct horse battery"}, "ADMIN_EMAIL"),
        ({"ADMIN_EMAIL": "root@example.com", "ADMIN_PASSWORD": "short"}, "at least 8 characters"),
        ({"SMTP_URL": "nowhere"}, "SMTP_URL"),
    ],
)
def test_a_bad_setting(tmp_path: Path, redis_url: str, wrong: dict[str, str], says: str):
    (tmp_path / "short.key").write_text("c2hvcnQ")
    environment = {
        "REDIS_URL": redis_url,
        "STORAGE_URL": f"sqlite:///{tmp_path}/auth.db",
        "SERVICE_KEY_FILE": str(key_file(tmp_path / "service.key")),
        "MASTER_KEY_FILE": str(key_file(tmp_path / "master.key")),
    }
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "auth_service"],
        env=os.environ | environment | wrong,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    lines = [line for line in ended.stderr.splitlines() if line.startswith("fastcms: ")]
    assert len(lines) == 1
    assert says in lines[0]
    assert "Traceback" not in ended.stderr
