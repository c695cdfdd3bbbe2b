"""deploy/compose/mongodb-setup.js makes the replica set and the users that the storage URLs name, at every start."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[3]
SERVICES = ("auth", "collections", "admin", "scheduler")

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js to run the script")


class Deployment:
    """Secrets as they are made for Compose, and a server that lasts from start to start."""

    def __init__(self, folder: Path) -> None:
        self.secrets = folder / "secrets"
        self._state = folder / "state.json"
        self._state.write_text(json.dumps({"replicaSet": None, "users": {}, "elections": 3}))
        subprocess.run([ROOT / "deploy" / "make-secrets.sh", self.secrets], check=True, capture_output=True)

    @property
    def server(self) -> Any:
        return json.loads(self._state.read_text())

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text().strip()

    def start(self, **server: Any) -> subprocess.CompletedProcess[str]:
        """Runs the script against the server, changed by these."""
        self._state.write_text(json.dumps({**self.server, "commands": [], **server}))
        command = ["node", Path(__file__).with_name("mongosh.js"), ROOT / "deploy" / "compose" / "mongodb-setup.js"]
        return subprocess.run([*command, self.secrets, self._state], capture_output=True, text=True, timeout=60)


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


def test_the_first_start_makes_the_replica_set_and_a_user_for_each_service(deployment: Deployment) -> None:
    done = deployment.start()

    assert (done.returncode, done.stderr) == (0, "")
    root = urlsplit(deployment.server["url"])
    assert (root.username, root.password) == ("root", deployment.secret("mongodb-root-password"))
    assert deployment.server["replicaSet"] == {"_id": "rs0", "members": [{"_id": 0, "host": "mongodb:27017"}]}
    assert deployment.server["users"].keys() == set(SERVICES)
    for service in SERVICES:
        url, user = urlsplit(deployment.secret(f"storage-url-{service}")), deployment.server["users"][service]
        assert (url.username, url.password) == (service, user["pwd"])
        assert user["roles"] == [{"role": "readWrite", "db": f"fastcms_{service}"}]


def test_a_later_start_brings_a_new_password_in_line_and_leaves_the_rest(deployment: Deployment) -> None:
    deployment.start()
    before = deployment.server
    changed = deployment.secrets / "storage-url-admin"
    changed.chmod(0o644)
    changed.write_text(changed.read_text().replace(before["users"]["admin"]["pwd"], "n%2Few"))

    done = deployment.start()

    assert done.returncode == 0
    after = deployment.server
    assert "replSetInitiate" not in after["commands"]
    assert after["users"].pop("admin")["pwd"] == "n/ew"
    assert after["users"] == {name: user for name, user in before["users"].items() if name != "admin"}


def test_what_stands_in_the_way_is_said(deployment: Deployment) -> None:
    never = deployment.start(elections=10_000)
    assert never.returncode != 0
    assert "the replica set has no primary" in never.stderr

    wrong_password = deployment.start(refusal=18)
    assert wrong_password.returncode != 0
    assert "Refused" in wrong_password.stderr
    assert deployment.server["users"] == {}
