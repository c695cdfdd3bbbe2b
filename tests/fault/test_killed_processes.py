"""kill -9 of each process in turn under a light load, and the restart of each service.

Of a kill clients see a 503, a broken connection or a short delay, never a wrong answer; whatever was answered 2xx is
there afterwards. Of a restart they see the delay, and so they do of a killed service where they only read.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import uuid
from collections.abc import Iterator, Sequence

import httpx
import pytest

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.suite import Suite, start_suite, wait_until

# 502 to 504 say that something is away for now; 401 never may be the answer to a good token.
AWAY = {502, 503, 504}
SERVICES = ("auth-service", "collections-service", "admin-service", "scheduler-service")
OF_EACH_SERVICE = ("/api/v1/auth/me", "/api/v1/admin/users", "/api/v1/admin/cron")
VICTIMS = (
    *SERVICES,
    "scheduler-worker",
    "redis",
    "gateway",
)


class Load:
    """One client that writes and reads back, and reads `also`, over and over, and keeps what it was promised."""

    def __init__(self, suite: Suite, token: str, also: Sequence[str] = ()) -> None:
        self._also = also
        self._suite = suite
        self._token = token
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.promised: dict[str, str] = {}
        self.wrong: list[str] = []
        self.refused: list[str] = []
        self.unread: list[str] = []
        self.rounds = 0

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        with httpx.Client(base_url=self._suite.base_url, headers=headers, trust_env=False, timeout=20) as client:
            while not self._stop.wait(0.01):
                try:
                    self._write_and_read(client)
                except httpx.TransportError as error:
                    # The connection broke or was refused: the answer is unknown, so nothing was promised.
                    self.refused.append(repr(error))
                    continue
                self.rounds += 1

    def _write_and_read(self, client: httpx.Client) -> None:
        value = str(uuid.uuid4())
        written = client.post("/api/v1/collections/notes/records", json={"data": {"text": value}})
        if written.status_code in AWAY:
            self.refused.append(written.text)
            return
        if written.status_code != 201:
            self.wrong.append(f"write: {written.status_code} {written.text}")
            return
        record_id = written.json()["id"]
        self.promised[record_id] = value
        read = client.get(f"/api/v1/collections/notes/records/{record_id}")
        if read.status_code in AWAY:
            self.unread.append(read.text)
        elif read.status_code != 200 or read.json()["data"]["text"] != value:
            self.wrong.append(f"read: {read.status_code} {read.text}")
        for path in self._also:
            answer = client.get(path)
            if answer.status_code != 200:
                (self.unread if answer.status_code in AWAY else self.wrong).append(answer.text)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Suite, str]]:
    """A suite of this module's own, with a collection that admins write; the other tests keep theirs unharmed."""
    data_dir = tmp_path_factory.mktemp("killed") / "data"
    with start_suite(data_dir, ADMIN_EMAIL=ADMIN_EMAIL, ADMIN_PASSWORD=ADMIN_PASSWORD) as suite:
        with httpx.Client(base_url=suite.base_url, trust_env=False, timeout=20) as client:
            login = client.post("/api/v1/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
            token = str(login.json()["access_token"])
            client.headers["Authorization"] = f"Bearer {token}"
            body = {"name": "notes", "schema": [{"name": "text", "type": "text"}], "list_rule": "", "view_rule": ""}
            assert client.post("/api/v1/collections", json=body).status_code == 201
        yield suite, token


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_process_costs_nothing_that_was_promised(loaded: tuple[Suite, str], victim: str):
    suite, token = loaded
    with Load(suite, token, OF_EACH_SERVICE) as load:
        wait_until(lambda: load.rounds >= 5, "the load is running")
        old = suite.kill(victim)
        suite.wait_restarted(victim, old)
        before = len(load.promised)
        wait_until(
            lambda: len(load.promised) >= before + 5, f"writes go on after {victim} was killed\n{suite.log[-3000:]}"
        )
    assert load.wrong == []
    if victim in SERVICES:
        # What was only to be read is read when the service is back.
        assert load.unread == []
    with httpx.Client(base_url=suite.base_url, trust_env=False, timeout=20) as client:
        for record_id, value in load.promised.items():
            answer = client.get(f"/api/v1/collections/notes/records/{record_id}")
            assert answer.status_code == 200, f"{record_id} was promised: {answer.text}"
            assert answer.json()["data"]["text"] == value


@pytest.mark.parametrize("service", SERVICES)
def test_a_restarted_service_is_waited_for_and_no_request_fails(loaded: tuple[Suite, str], service: str):
    suite, token = loaded
    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(Load(suite, token, OF_EACH_SERVICE)) for _ in range(4)]
        wait_until(lambda: all(load.rounds >= 5 for load in loads), "the load is running")
        old = suite.kill(service, signal.SIGTERM)
        suite.wait_restarted(service, old)
        before = [load.rounds for load in loads]
        wait_until(
            lambda: all(load.rounds >= had + 5 for load, had in zip(loads, before, strict=True)),
            f"requests are answered after {service} was restarted\n{suite.log[-3000:]}",
        )
    assert [load.wrong + load.refused + load.unread for load in loads] == [[]] * 4


def test_what_was_audited_while_admin_service_was_down_is_there_afterwards(loaded: tuple[Suite, str]):
    suite, token = loaded
    with httpx.Client(base_url=suite.base_url, trust_env=False, timeout=20) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        old = suite.kill("admin-service")
        email = f"{uuid.uuid4()}@example.com"
        assert client.post("/api/v1/auth/login", json={"email": email, "password": "wrong"}).status_code == 401
        suite.wait_restarted("admin-service", old)

        def stored() -> bool:
            page = client.get("/api/v1/audit", params={"event_action": "login_failed", "limit": 1000}).json()
            return [item["user_email"] for item in page["items"]].count(email) == 1

        wait_until(stored, "the failed login is in the log once")
