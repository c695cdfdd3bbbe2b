"""docker-compose.yml says of each process what the process reads, and nothing that it does not."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler_service.scraping import parse_targets
from tests.unit.deploy.rendering import ROOT
from tests.unit.deploy.suite_table import BEAT, MEMBERS, NEEDS_SERVICE_KEY, STORING, image_of, unknown_names

DATABASES = {"redis", "mongodb", "mongodb-setup"}
BASE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OVERRIDE = yaml.safe_load((ROOT / "docker-compose.override.yml").read_text())
CONTAINERS: dict[str, Any] = BASE["services"]

each_process = pytest.mark.parametrize("name", MEMBERS)
each_container = pytest.mark.parametrize("name", CONTAINERS)


def test_every_process_of_the_suite_has_a_container() -> None:
    assert set(CONTAINERS) == set(MEMBERS) | DATABASES | {"cli"}


@each_process
def test_a_process_reads_what_it_is_told(name: str) -> None:
    development = OVERRIDE["services"][name]["environment"]

    assert unknown_names(name, CONTAINERS[name]["environment"]) == set()
    assert unknown_names(name, development) == set()


@each_process
def test_a_process_is_given_the_secrets_that_its_environment_names(name: str) -> None:
    container = CONTAINERS[name]
    files = {value for variable, value in container["environment"].items() if variable.endswith("_FILE")}

    assert files == {f"/run/secrets/{secret}" for secret in container["secrets"]}
    assert ("service-key" in container["secrets"]) == (name in NEEDS_SERVICE_KEY)
    expected = {f"storage-url-{STORING[name]}"} if name in STORING else set()
    assert {secret for secret in container["secrets"] if secret.startswith("storage-url")} == expected


@each_process
def test_a_process_runs_the_image_and_the_module_of_the_run_commands_table(name: str) -> None:
    container = CONTAINERS[name]
    image = image_of(name)

    assert container["image"].split(":")[0] == image
    assert container["build"]["args"]["SERVICE"] == image.removeprefix("fastcms-")
    if "command" in container:
        assert container["command"] == ["python", "-P", "-m", MEMBERS[name].module]
    else:
        # The image starts the module of its folder's name.
        assert MEMBERS[name].module == name.replace("-", "_")


@each_process
def test_a_process_is_confined(name: str) -> None:
    container = CONTAINERS[name]

    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert container["restart"] == "unless-stopped"


@each_container
def test_a_container_has_limits_and_ends_the_growth_of_its_log(name: str) -> None:
    assert CONTAINERS[name]["mem_limit"]
    assert CONTAINERS[name]["logging"]["options"]["max-size"]


@each_process
def test_services_are_found_at_the_names_and_the_port_of_their_containers(name: str) -> None:
    environment = CONTAINERS[name]["environment"]
    port = re.search(r"LISTEN=0\.0\.0\.0:(\d+)", (ROOT / "Dockerfile").read_text())

    assert port is not None
    for member in MEMBERS.values():
        if member.target:
            assert environment[member.target] == f"{member.name}:{port[1]}"


def test_the_charts_ask_every_process_for_its_metrics() -> None:
    targets = parse_targets(CONTAINERS["scheduler-service"]["environment"]["METRICS_TARGETS"])

    assert targets == {name: f"{name}:9000" for name in MEMBERS}
    assert "METRICS_LISTEN=0.0.0.0:9000" in (ROOT / "Dockerfile").read_text()


def test_worker_and_beat_share_their_work() -> None:
    roles = {name: CONTAINERS[name]["environment"]["WORKER_ROLE"] for name in ("scheduler-worker", BEAT)}

    assert roles == {"scheduler-worker": "worker", BEAT: "beat"}


def test_only_the_gateway_is_published() -> None:
    assert [name for name, container in CONTAINERS.items() if "ports" in container] == ["gateway"]
    assert not [name for name, container in OVERRIDE["services"].items() if "ports" in container]


def test_databases_are_on_the_network_that_has_no_way_out() -> None:
    assert BASE["networks"]["inside"]["internal"] is True
    assert all(CONTAINERS[name]["networks"] == ["inside"] for name in DATABASES)


@each_container
def test_containers_wait_for_what_can_tell_that_it_is_well(name: str) -> None:
    for waited_for, how in CONTAINERS[name].get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            # The images of the suite bring a check of their own.
            assert waited_for in MEMBERS or "healthcheck" in CONTAINERS[waited_for]
        else:
            assert how["condition"] == "service_completed_successfully"
            assert CONTAINERS[waited_for]["restart"] == "no"


def test_files_that_are_mounted_are_there() -> None:
    mounted = [volume for container in CONTAINERS.values() for volume in container.get("volumes", [])]
    files = [volume.split(":")[0] for volume in mounted if volume.startswith("./")]
    named = {volume.split(":")[0] for volume in mounted if not volume.startswith("./")}

    assert files
    assert all((ROOT / file).is_file() for file in files)
    assert named == set(BASE["volumes"])


def test_every_secret_is_declared_and_used() -> None:
    used = {secret for container in CONTAINERS.values() for secret in container.get("secrets", [])}

    assert used == set(BASE["secrets"])


@pytest.mark.parametrize("behind", [[], ["docker-compose.override.yml"], ["deploy/compose/no-registry.yml"]])
@pytest.mark.parametrize("compose", [["docker-compose"], ["docker", "compose"]])
def test_docker_compose_takes_it(compose: list[str], behind: list[str], tmp_path: Path) -> None:
    if not _runs(compose):
        pytest.skip(f"there is no {' '.join(compose)}")
    secrets = tmp_path / "deploy" / "secrets"
    secrets.mkdir(parents=True)
    (tmp_path / "deploy" / "mail").mkdir()
    for name in BASE["secrets"]:
        (secrets / name).touch()
    chosen = [argument for file in ["docker-compose.yml", *behind] for argument in ("-f", str(ROOT / file))]
    command = [*compose, "--project-directory", str(tmp_path), *chosen, "config"]

    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)

    assert answer.returncode == 0, answer.stderr
    # The newer one leaves out what is of a profile that is not on.
    assert set(yaml.safe_load(answer.stdout)["services"]) >= set(CONTAINERS) - {"cli"}


def _runs(compose: list[str]) -> bool:
    """Whether this Compose is there; Docker may be there without it."""
    if shutil.which(compose[0]) is None:
        return False
    return subprocess.run([*compose, "version"], capture_output=True, timeout=30).returncode == 0


def test_the_examples_names_are_those_that_the_compose_file_asks_for() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    asked = set(re.findall(r"\$\{([A-Z_]+)", text))
    given = set(re.findall(r"^([A-Z_]+)=", (ROOT / "deploy" / "env.example").read_text(), re.MULTILINE))

    assert given <= asked | {"COMPOSE_FILE"}


def test_the_mail_catcher_is_built_where_there_is_a_venv_module() -> None:
    base = OVERRIDE["services"]["mail"]["build"]["args"]["BASE"]

    assert base == CONTAINERS["gateway"]["build"]["args"]["BUILD_BASE"]


def test_the_mail_catcher_is_pinned_as_the_tests_requirements_are() -> None:
    pinned = (ROOT / "deploy" / "mail" / "requirements.txt").read_text()
    lock = (ROOT / "requirements-dev.lock").read_text()
    lines = [line for line in pinned.splitlines() if line and not line.startswith("#")]

    assert "aiosmtpd==" in pinned
    assert all(line in lock for line in lines)
