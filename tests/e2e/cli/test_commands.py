"""The commands with which an operator looks after a suite, on one that is running."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.contract.auth.mailbox import Mailbox, token_of
from tests.e2e.cli.command import fastcms
from tests.suite import Suite, wait_until

PASSWORD = "four words and more"
SIGNED_IN = ("--email", ADMIN_EMAIL, "--password-file", "-")


def sign_in(suite: Suite, email: str, password: str) -> httpx.Response:
    return httpx.post(
        f"{suite.base_url}/api/v1/auth/login", json={"email": email, "password": password}, trust_env=False
    )


def events(client: httpx.Client, action: str) -> list[dict[str, object]]:
    items: list[dict[str, object]] = client.get("/api/v1/audit", params={"event_action": action}).json()["items"]
    return items


def test_an_operator_makes_a_superadmin_without_signing_in(suite: Suite, admin_client: httpx.Client) -> None:
    made = fastcms(suite.data_dir, "create-admin", "operator@example.com", "--password-file", "-", typed=PASSWORD)

    assert made.returncode == 0, made.stderr
    user = sign_in(suite, "operator@example.com", PASSWORD).json()["user"]
    assert (user["role"], user["superadmin"]) == ("admin", True)
    created = wait_until(
        lambda: [one for one in events(admin_client, "user_created") if one["resource_id"] == user["id"]], "an event"
    )
    assert created[0]["user_agent"] == "fastcms on the command line"


def test_a_superadmin_whose_password_is_lost_is_recovered_and_their_sessions_end(
    suite: Suite, admin_client: httpx.Client
) -> None:
    email = "lost@example.com"
    fastcms(suite.data_dir, "create-admin", email, "--password-file", "-", typed=PASSWORD)
    old = sign_in(suite, email, PASSWORD).json()["access_token"]

    again = fastcms(suite.data_dir, "create-admin", email, "--password-file", "-", typed="another four words")
    recovered = fastcms(
        suite.data_dir, "create-admin", email, "--recover", "--password-file", "-", typed="another four words"
    )

    assert (again.returncode, again.stdout) == (2, "")
    assert "--recover" in again.stderr
    assert recovered.returncode == 0, recovered.stderr
    assert sign_in(suite, email, PASSWORD).status_code == httpx.codes.UNAUTHORIZED
    assert sign_in(suite, email, "another four words").status_code == httpx.codes.OK
    headers = {"Authorization": f"Bearer {old}"}
    wait_until(
        lambda: httpx.get(f"{suite.base_url}/api/v1/auth/me", headers=headers, trust_env=False).status_code == 401,
        "the old session is over",
    )
    told = wait_until(lambda: events(admin_client, "account_recovered"), "the audit log tells of it")
    assert told[0]["severity"] == "critical"


def test_what_a_thief_has_begun_ends_when_the_account_is_recovered(suite: Suite, admin_client: httpx.Client) -> None:
    email = "stolen@example.com"
    fastcms(suite.data_dir, "create-admin", email, "--password-file", "-", typed=PASSWORD)
    user = {"email": "target@example.com", "password": PASSWORD, "role": "user"}
    target = admin_client.post("/api/v1/auth/register", json=user).json()["user"]["id"]
    headers = {"Authorization": f"Bearer {sign_in(suite, email, PASSWORD).json()['access_token']}"}
    with httpx.Client(base_url=suite.base_url, headers=headers, trust_env=False) as thief:
        asked = {"new_email": "thief@example.com", "password": PASSWORD}
        thief.post("/api/v1/auth/me/request-email-change", json=asked)
        mailbox = Mailbox(suite.data_dir / "outbox")
        (mail,) = wait_until(lambda: mailbox.to("thief@example.com", "email_change"), "the link is mailed")
        acting = thief.post(f"/api/v1/admin/users/{target}/impersonate").json()["access_token"]
        thief.headers["Authorization"] = f"Bearer {acting}"
        assert thief.get("/api/v1/auth/me").json()["id"] == target

        fastcms(suite.data_dir, "create-admin", email, "--recover", "--password-file", "-", typed="another four words")

        confirmed = thief.post("/api/v1/auth/me/confirm-email-change", json={"token": token_of(mail)})
        assert confirmed.json()["code"] == "TOKEN_INVALID"
        wait_until(lambda: thief.get("/api/v1/auth/me").status_code == 401, "nobody acts as somebody else")


def test_a_password_that_breaks_the_policy_is_refused_in_one_line(suite: Suite) -> None:
    refused = fastcms(suite.data_dir, "create-admin", "weak@example.com", "--password-file", "-", typed="short")

    assert refused.returncode == 2
    assert refused.stderr.startswith("fastcms: password: ")
    assert refused.stderr.count("\n") == 1


def test_an_account_that_is_locked_opens_for_the_operator(suite: Suite) -> None:
    fastcms(suite.data_dir, "create-admin", "locked@example.com", "--password-file", "-", typed=PASSWORD)
    wait_until(lambda: sign_in(suite, "locked@example.com", "wrong").status_code == 403, "the account is locked")

    unlocked = fastcms(suite.data_dir, "unlock", "locked@example.com")

    assert unlocked.returncode == 0, unlocked.stderr
    assert "open now" in unlocked.stdout
    assert sign_in(suite, "locked@example.com", PASSWORD).status_code == httpx.codes.OK


def test_the_audit_log_is_verified(suite: Suite) -> None:
    verified = fastcms(suite.data_dir, "verify-audit", *SIGNED_IN, typed=ADMIN_PASSWORD)

    assert verified.returncode == 0, verified.stderr
    assert "is whole" in verified.stdout


@pytest.mark.parametrize("file_name", ["records.ndjson", "records.csv"])
def test_records_are_exported_and_imported_again(
    file_name: str, suite: Suite, admin_client: httpx.Client, tmp_path: Path
) -> None:
    name, file = f"moved_{file_name.rpartition('.')[2]}", tmp_path / file_name
    schema = {"fields": [{"name": "title", "type": "text"}, {"name": "count", "type": "number"}]}
    for collection in (name, f"{name}_copy"):
        answer = admin_client.post("/api/v1/collections", json={"name": collection, "type": "base", "schema": schema})
        assert answer.status_code == httpx.codes.CREATED, answer.text
    records = [{"data": {"title": f"Läden, {number}", "count": number}} for number in range(250)]
    admin_client.post(f"/api/v1/collections/{name}/records/batch", json={"records": records})

    exported = fastcms(suite.data_dir, "export", name, file, *SIGNED_IN, typed=ADMIN_PASSWORD)
    imported = fastcms(suite.data_dir, "import", f"{name}_copy", file, *SIGNED_IN, typed=ADMIN_PASSWORD)

    assert exported.returncode == 0, exported.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    assert "250 created, 0 refused" in imported.stdout, imported.stderr + imported.stdout
    found = admin_client.get(f"/api/v1/collections/{name}_copy/records", params={"filter": "count = 249"}).json()
    assert found["items"][0]["data"]["title"] == "Läden, 249"


def test_lines_that_are_refused_are_named_and_the_rest_goes_on(suite: Suite, admin_client: httpx.Client) -> None:
    schema = {"fields": [{"name": "count", "type": "number"}]}
    admin_client.post("/api/v1/collections", json={"name": "picky", "type": "base", "schema": schema})
    lines = "\n".join(json.dumps({"data": {"count": count}}) for count in (1, "two", 3))

    imported = fastcms(
        suite.data_dir, "import", "picky", "-", "--format", "ndjson", typed=lines, FASTCMS_TOKEN=_token(suite)
    )

    assert imported.returncode == 1
    assert imported.stderr.startswith("line 2: ")
    assert "2 created, 1 refused" in imported.stdout


def test_a_collection_that_is_not_there_is_said_in_one_line(suite: Suite) -> None:
    refused = fastcms(suite.data_dir, "export", "nothing_here", "-", *SIGNED_IN, typed=ADMIN_PASSWORD)

    assert refused.returncode == 2
    assert (refused.stderr.count("\n"), "(404)" in refused.stderr) == (1, True)


def test_a_gateway_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    refused = fastcms(tmp_path, "verify-audit", "--url", "http://127.0.0.1:1", FASTCMS_TOKEN="token")

    assert refused.returncode == 2
    assert refused.stderr.startswith("fastcms: http://127.0.0.1:1 cannot be reached")
    assert refused.stderr.count("\n") == 1


def _token(suite: Suite) -> str:
    return str(sign_in(suite, ADMIN_EMAIL, ADMIN_PASSWORD).json()["access_token"])
