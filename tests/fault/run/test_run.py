"""`fastcms run` itself, with stand-ins for the services and a real Redis."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from fastcms_cli import data_folder
from fastcms_cli.config import BadStart
from fastcms_cli.data_folder import DataFolder
from fastcms_cli.processes import Lifeline
from tests.suite import Suite, start_suite, wait_until

STAND_INS = str(Path(__file__).with_name("stand_ins"))
CHILDREN = (
    "redis",
    "auth-service",
    "collections-service",
    "admin-service",
    "scheduler-service",
    "scheduler-worker",
    "gateway",
)

StartRun = Callable[..., Suite]


@pytest.fixture
def start_run(new_suite: StartRun) -> StartRun:
    def start(data_dir: Path | None = None, **environment: object) -> Suite:
        return new_suite(data_dir, PYTHONPATH=STAND_INS, **environment)

    return start


def gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def fails_to_start(data_dir: Path, **environment: str) -> str:
    """The one line that a run which cannot start leaves on its way out with exit code 2."""
    with start_suite(data_dir, wait=False, PYTHONPATH=STAND_INS, **environment) as run:
        assert run.process.wait(30) == 2
        return run.log.splitlines()[-1]


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_all_processes_come_up_and_the_banner_says_where(start_run: StartRun, tmp_path: Path) -> None:
    run = start_run()
    assert set(run.run_info()["processes"]) == set(CHILDREN)
    run.wait_log("FastCMS is up")
    assert f"{run.base_url}/docs" in run.log
    assert str(run.data_dir / "outbox") in run.log
    assert "auth-service        | auth-service listens" in run.log


@pytest.mark.parametrize("name", CHILDREN)
def test_a_killed_process_is_started_again(start_run: StartRun, name: str) -> None:
    run = start_run()
    old = run.kill(name)
    run.wait_restarted(name, old)
    run.wait_log(f"{name} died (killed by SIGKILL); starting it again in 0.2 s")
    assert run.run_info()["processes"][name]["deaths"] == 1


def test_what_a_killed_gateway_leaves_below_it_goes_before_it_is_started_again(start_run: StartRun) -> None:
    run = start_run()
    below = psutil.Process(run.pid("gateway")).children()
    assert below
    run.wait_restarted("gateway", run.kill("gateway"))
    assert gone(below)


def test_callers_wait_while_the_gateway_is_started_again(start_run: StartRun) -> None:
    run = start_run()
    host, port = run.address("gateway").rsplit(":", 1)
    run.kill("gateway")
    with socket.create_connection((host, int(port)), timeout=10) as caller:
        caller.sendall(b"GET /health/ready HTTP/1.0\r\n\r\n")
        assert caller.recv(100).startswith(b"HTTP/1.0 200")


def test_redis_keeps_its_data_over_a_kill_and_over_a_restart_of_the_run(start_run: StartRun, tmp_path: Path) -> None:
    data_dir = tmp_path / ("a long name " * 12)
    run = start_run(data_dir)
    with redis.Redis.from_url(run.run_info()["redis_url"]) as client:
        client.set("kept", "over a kill")
        run.wait_restarted("redis", run.kill("redis"))
        wait_until(lambda: answers(client), "Redis answers again")
        assert client.get("kept") == b"over a kill"
    run.stop()
    with redis.Redis.from_url(start_run(data_dir).run_info()["redis_url"]) as client:
        wait_until(lambda: answers(client), "Redis answers")
        assert client.get("kept") == b"over a kill"


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except (redis.ConnectionError, redis.BusyLoadingError):
        return False


def test_redis_turns_away_whoever_has_no_password(start_run: StartRun) -> None:
    host, port = start_run().address("redis").rsplit(":", 1)
    with redis.Redis(host, int(port)) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_in_order_and_leaves_nothing(start_run: StartRun, number: signal.Signals) -> None:
    run = start_run()
    family, port = run.family(), int(run.address("gateway").rsplit(":", 1)[1])
    assert len(family) == 1 + 1 + len(CHILDREN) + 1  # supervisor, lifeline, children, the one below the gateway
    assert run.stop(number) == 0
    assert gone(family)
    assert not (run.data_dir / "run.json").exists()
    assert not [path for path in run.data_dir.rglob("*") if path.is_socket()]
    with socket.create_server(("127.0.0.1", port)):
        order = [run.log.index(f"{name} drained") for name in ("gateway", "scheduler-worker", "auth-service")]
    assert order == sorted(order)
    assert order[-1] < run.log.index("Redis is now ready to exit")


def test_a_second_signal_does_not_wait_for_a_process_that_is_deaf(start_run: StartRun) -> None:
    run = start_run(MISBEHAVING="admin-service:deaf")
    family = run.family()
    run.process.send_signal(signal.SIGINT)
    run.wait_log("auth-service drained")
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(5) == 0
    assert gone(family)
    assert "has not stopped" not in run.log


def test_a_killed_supervisor_leaves_nothing_running(start_run: StartRun) -> None:
    run = start_run()
    family = run.family()
    run.stop(signal.SIGKILL)
    wait_until(lambda: gone(family), "all of the family are gone", within=5)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process when its parent dies")
def test_killing_the_supervisor_together_with_its_lifeline_leaves_none_of_its_children(start_run: StartRun) -> None:
    run = start_run()
    supervisor, *children = run.family()
    lifeline = next(child for child in children if "lifeline" in " ".join(child.cmdline()))
    direct = psutil.Process(supervisor.pid).children()
    below = [child for child in children if child not in direct]
    os.kill(lifeline.pid, signal.SIGKILL)
    run.stop(signal.SIGKILL)
    try:
        wait_until(lambda: gone(direct), "every child has died with the supervisor", within=5)
    finally:
        for process in below:
            process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_lifeline_holds_the_folder_until_the_last_process_has_gone(start_run: StartRun) -> None:
    run = start_run()
    lifeline = next(process for process in run.family() if "lifeline" in " ".join(process.cmdline()))
    held = [os.readlink(link) for link in Path(f"/proc/{lifeline.pid}/fd").iterdir()]
    assert str(run.data_dir) in held


def test_a_lifeline_alone_keeps_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_folder, "LOCK_PATIENCE", 0.0)
    folder = DataFolder(tmp_path)
    lifeline = Lifeline(held=(folder.lock_fd,))
    folder.close()
    with pytest.raises(BadStart, match="in use by another run"):
        DataFolder(tmp_path)
    lifeline.close()
    DataFolder(tmp_path).close()


def test_a_run_can_begin_right_after_the_one_before_it_was_killed(start_run: StartRun, tmp_path: Path) -> None:
    run = start_run(tmp_path / "data")
    port = int(run.address("gateway").rsplit(":", 1)[1])
    run.stop(signal.SIGKILL)
    assert start_run(tmp_path / "data", port=port).run_info()["ready"]


def test_two_runs_side_by_side_do_not_touch_each_other(start_run: StartRun) -> None:
    first = start_run()
    port = int(first.address("gateway").rsplit(":", 1)[1])
    second = start_run(port=port + 1)
    infos = [run.run_info()["processes"] for run in (first, second)]
    addresses = [[entry[kind] for entry in info.values() for kind in ("listen", "metrics")] for info in infos]
    assert not set(filter(None, addresses[0])) & set(filter(None, addresses[1]))
    second.wait_restarted("redis", second.kill("redis"))
    second.stop()
    assert first.run_info()["processes"] == infos[0]
    first.wait_ready()


def test_a_port_that_is_taken_is_one_line_and_exit_code_2(tmp_path: Path, taken_port: int) -> None:
    line = fails_to_start(tmp_path / "data", FASTCMS_PORT=str(taken_port))
    assert line == f"fastcms: FASTCMS_PORT {taken_port} is taken by another program on 127.0.0.1"


def test_a_folder_that_another_run_has_is_one_line_and_exit_code_2(start_run: StartRun) -> None:
    run = start_run()
    line = fails_to_start(run.data_dir)
    assert line == f"fastcms: FASTCMS_DATA_DIR {run.data_dir} is in use by another run"


def test_a_folder_that_cannot_be_made_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = fails_to_start(tmp_path / "data", FASTCMS_DATA_DIR=str(tmp_path / "file" / "data"))
    assert line == f"fastcms: FASTCMS_DATA_DIR {tmp_path}/file/data is no folder to write in: Not a directory"


def test_a_bad_setting_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    line = fails_to_start(tmp_path / "data", ACCOUNT_LOCKOUT_ATTEMPTS="none")
    assert line.startswith("fastcms: ACCOUNT_LOCKOUT_ATTEMPTS: ")
    assert not (tmp_path / "data").exists()


def test_a_process_that_refuses_its_settings_ends_the_run_with_exit_code_2(tmp_path: Path) -> None:
    line = fails_to_start(tmp_path / "data", MISBEHAVING="auth-service:refuse")
    assert line == "fastcms: auth-service will not start: A_SETTING: is no good"
    assert not (tmp_path / "data" / "run.json").exists()


def test_a_reader_that_goes_away_does_not_end_the_run(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    environment = {"FASTCMS_PORT": "0", "FASTCMS_DATA_DIR": str(data_dir), "PYTHONPATH": STAND_INS}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "fastcms_cli", "run"], env=os.environ | environment, stdout=subprocess.PIPE
    )
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    with Suite(process, data_dir, tmp_path / "log") as run:
        (tmp_path / "log").touch()
        run.wait_ready()
        run.wait_restarted("redis", run.kill("redis"))
