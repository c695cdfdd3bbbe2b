"""Keys are exchanged, and everybody and everything goes on as before."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pyotp

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.e2e.cli.command import fastcms
from tests.suite import Suite, start_suite

PERSON = {"email": "person@example.com", "password": "four words and more"}
JOB = {
    "name": "call_out",
    "interval": "0 0 29 2 *",
    "url": "https://hooks.example/x",
    "headers": {"Authorization": "Bearer s3cret"},
}


def test_master_and_service_key_are_exchanged_without_a_loss(tmp_path: Path) -> None:
    data = tmp_path / "data"
    before = {name: data / "secrets" / f"{name}.key" for name in ("master", "service")}
    with start_suite(data, ADMIN_EMAIL=ADMIN_EMAIL, ADMIN_PASSWORD=ADMIN_PASSWORD) as suite:
        with client_of(suite) as client:
            totp, tokens = _with_a_second_factor(client)
            assert client.patch("/settings/mail", json={"smtp_url": "smtp://me:s3cret@127.0.0.1:9"}).is_success
            assert client.post("/admin/cron", json=JOB).is_success
        running = fastcms(data, "rotate-keys", "master")
        assert (running.returncode, "in use" in running.stderr) == (2, True)
    old = {name: file.read_text() for name, file in before.items()}

    for name in ("master", "service"):
        rotated = fastcms(data, "rotate-keys", name)
        assert rotated.returncode == 0, rotated.stderr
        assert before[name].read_text().endswith(f"\n{old[name]}")
    with start_suite(data) as suite, client_of(suite) as client:
        tokens = client.post("/auth/refresh", json={"refresh_token": tokens}).json()["refresh_token"]

    for name in ("master", "service"):
        assert fastcms(data, "rotate-keys", name, "--forget").returncode == 0
        assert old[name] not in before[name].read_text()
    # The old keys are nowhere: what opens now opens with the new ones.
    with start_suite(data) as suite, client_of(suite) as client:
        assert client.post("/auth/refresh", json={"refresh_token": tokens}).is_success
        code = totp.generate_otp(int(time.time()) // 30 + 1)
        assert client.post("/auth/login", json=PERSON | {"mfa_code": code}).is_success
        assert client.get("/settings/mail").json()["smtp_url_set"] is True
        (job,) = [one for one in client.get("/admin/cron").json()["tasks"] if one["name"] == "call_out"]
        assert job["headers"] == {"Authorization": "***"}
        assert client.get("/audit/verify").json()["ok"] is True
        assert "is lost" not in suite.log


def test_a_new_signing_key_is_published_at_once_and_old_tokens_stay_good(suite: Suite) -> None:
    with client_of(suite) as client:
        rotated = fastcms(suite.data_dir, "rotate-keys", "signing")

        assert rotated.returncode == 0, rotated.stderr
        assert client.get("/auth/me").is_success


def client_of(suite: Suite) -> httpx.Client:
    """A client that is signed in as the first admin."""
    api = f"{suite.base_url}/api/v1"
    mine = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
    token = httpx.post(f"{api}/auth/login", json=mine, trust_env=False, timeout=20).json()["access_token"]
    return httpx.Client(base_url=api, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=20)


def _with_a_second_factor(client: httpx.Client) -> tuple[pyotp.TOTP, str]:
    """A person with an authenticator, and a refresh token of theirs."""
    assert client.patch("/settings/auth", json={"mfa_enabled": True}).is_success
    answer = client.post("/auth/register", json=PERSON | {"role": "user"}).json()
    mine = {"Authorization": f"Bearer {answer['access_token']}"}
    totp = pyotp.TOTP(client.post("/auth/mfa/setup", headers=mine).json()["secret"])
    code = totp.generate_otp(int(time.time()) // 30)
    assert client.post("/auth/mfa/enable", json={"code": code}, headers=mine).is_success
    return totp, answer["refresh_token"]
