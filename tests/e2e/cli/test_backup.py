"""A backup made while everything writes, put back elsewhere: what was acknowledged before it began is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.e2e.cli.command import fastcms
from tests.suite import Suite, start_suite, wait_until

RECORDS = "/api/v1/collections/notes/records"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A backup of a suite that was being written to, and the ids that were acknowledged before it began."""
    home = tmp_path_factory.mktemp("backup")
    with start_suite(home / "data", ADMIN_EMAIL=ADMIN_EMAIL, ADMIN_PASSWORD=ADMIN_PASSWORD) as suite:
        with _signed_in(suite) as client:
            schema = {"fields": [{"name": "text", "type": "text"}]}
            client.post("/api/v1/collections", json={"name": "notes", "type": "base", "schema": schema})
            before = [_write(client) for _ in range(50)]
            with _writing(suite) as written:
                wait_until(lambda: len(written) > 20, "others write")
                before += written
                made = fastcms(suite.data_dir, "backup", home / "all.tar.gz")
                went_on = len(written)
                wait_until(lambda: len(written) > went_on, "they still write")
        assert made.returncode == 0, made.stderr
    return home / "all.tar.gz", before


def test_what_was_acknowledged_before_is_there_and_the_audit_log_is_whole(
    archive: tuple[Path, list[str]], new_suite: Callable[..., Suite], tmp_path: Path
) -> None:
    file, before = archive
    restored = fastcms(tmp_path / "other", "restore", file)

    assert restored.returncode == 0, restored.stderr
    suite = new_suite(tmp_path / "other")
    with _signed_in(suite) as client:
        missing = [one for one in before if client.get(f"{RECORDS}/{one}").status_code != httpx.codes.OK]
        assert missing == []
        wait_until(
            lambda: client.get("/api/v1/audit", params={"event_action": "backup_restored"}).json()["total"] == 1,
            "the audit log tells of the restore",
        )
        assert (
            client.get("/api/v1/audit", params={"event_action": "created", "event_type": "collection"}).json()["total"]
            == 1
        )
        assert client.get("/api/v1/audit/verify").json()["ok"] is True
        # Life goes on.
        assert _write(client)


def test_a_folder_that_holds_something_is_left_alone_unless_forced(
    archive: tuple[Path, list[str]], tmp_path: Path
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "auth.db").write_text("mine")

    refused = fastcms(there, "restore", archive[0])

    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert sorted(one.name for one in there.iterdir()) == ["auth.db"]
    forced = fastcms(there, "restore", archive[0], "--force")
    assert forced.returncode == 0, forced.stderr
    (kept,) = there.glob("replaced-*/auth.db")
    assert kept.read_text() == "mine"


def test_a_suite_that_is_running_is_not_overwritten(archive: tuple[Path, list[str]], suite: Suite) -> None:
    refused = fastcms(suite.data_dir, "restore", archive[0], "--force")

    assert refused.returncode == 2
    assert "in use" in refused.stderr


@pytest.mark.parametrize("harm", ["altered", "cut short", "no archive"])
def test_a_damaged_archive_is_refused_before_anything_is_touched(
    harm: str, archive: tuple[Path, list[str]], tmp_path: Path
) -> None:
    import gzip

    content = bytearray(gzip.decompress(archive[0].read_bytes()))
    if harm == "altered":
        content[content.index(b"SQLite format 3") + 5000] ^= 1
    damaged = {"altered": content, "cut short": content[: len(content) // 2], "no archive": b"hello"}[harm]
    (tmp_path / "damaged.tar").write_bytes(damaged)

    refused = fastcms(tmp_path / "new", "restore", tmp_path / "damaged.tar")

    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_what_was_not_restored_to_the_end_is_not_run_on(tmp_path: Path) -> None:
    (tmp_path / "restore-unfinished").touch()

    refused = fastcms(tmp_path, "run", FASTCMS_PORT="0")

    assert refused.returncode == 2
    assert "was not restored to the end" in refused.stderr


def test_a_backup_of_a_suite_that_is_stopped_is_the_same(archive: tuple[Path, list[str]], tmp_path: Path) -> None:
    fastcms(tmp_path / "stopped", "restore", archive[0])

    made = fastcms(tmp_path / "stopped", "backup", tmp_path / "again.tar", "--without-keys")

    assert made.returncode == 0, made.stderr
    assert "The keys are not inside" in made.stdout
    # Without the keys inside, the folder has to have them: another one's are told apart.
    other = fastcms(tmp_path / "elsewhere", "restore", tmp_path / "again.tar")
    assert other.returncode == 2
    assert "key" in other.stderr


def test_a_full_disk_ends_a_backup_in_one_line_and_leaves_nothing(
    archive: tuple[Path, list[str]], tmp_path: Path
) -> None:
    fastcms(tmp_path / "stopped", "restore", archive[0])
    largest = max(file.stat().st_size for file in (tmp_path / "stopped").glob("*.db"))
    to = tmp_path / "to"
    to.mkdir()

    # Each database fits, all of them do not.
    full = fastcms(tmp_path / "stopped", "backup", to / "all.tar", largest_file=largest + 4096)

    assert (full.returncode, full.stderr.count("\n")) == (2, 1), full.stderr
    assert "all.tar cannot be written: " in full.stderr
    assert list(to.iterdir()) == []


def test_a_full_disk_ends_a_restore_in_one_line_and_it_can_be_done_again(
    archive: tuple[Path, list[str]], tmp_path: Path
) -> None:
    there = tmp_path / "there"

    full = fastcms(there, "restore", archive[0], largest_file=50_000)

    assert (full.returncode, full.stderr.count("\n")) == (2, 1), full.stderr
    assert f"{there} cannot be written: " in full.stderr
    again = fastcms(there, "restore", archive[0])
    assert again.returncode == 0, again.stderr


@contextmanager
def _signed_in(suite: Suite) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=suite.base_url, trust_env=False, timeout=20) as client:
        answer = client.post("/api/v1/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        assert answer.status_code == httpx.codes.OK, answer.text
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


def _write(client: httpx.Client) -> str:
    answer = client.post(RECORDS, json={"data": {"text": "x" * 200}})
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return str(answer.json()["id"])


@contextmanager
def _writing(suite: Suite) -> Iterator[list[str]]:
    """Four writers beside the block; what is given grows with each id that was acknowledged."""
    written: list[str] = []
    over = threading.Event()

    def write() -> None:
        with _signed_in(suite) as client:
            while not over.is_set():
                written.append(_write(client))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield written
    finally:
        over.set()
        for thread in threads:
            thread.join()
