"""The Kubernetes manifests: sound by the published schemas, in accord with the code, and restricted."""

from __future__ import annotations

import copy
import json
import re
import shutil
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastcms_common.multiplex.lanes import RESOLVE_EVERY, RESOLVE_SOON
from gateway.routes import PACKAGES
from scheduler_service.scraping import parse_targets
from tests.unit.deploy.rendering import K8S, ROOT, Manifest, kubectl, rendered, resolved
from tests.unit.deploy.suite_table import MEMBERS, NEEDS_SERVICE_KEY, SETTINGS, STORING, image_of, unknown_names

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import kubernetes_validate

OVERLAYS = ("dev", "prod")
# The oldest that has all that is used, and the newest whose schemas are at hand.
VERSIONS = ("1.29", "1.36")
NAME = "app.kubernetes.io/name"

each_process = pytest.mark.parametrize("name", MEMBERS)
each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@cache
def manifests(overlay: str) -> list[Manifest]:
    return rendered(K8S / "overlays" / overlay)


def of_kind(kind: str, overlay: str = "prod") -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in manifests(overlay) if one["kind"] == kind}


def pod(name: str) -> Any:
    return of_kind("Deployment")[name]["spec"]["template"]["spec"]


def container(name: str) -> Any:
    (only,) = pod(name)["containers"]
    return only


@pytest.mark.parametrize(("overlay", "version"), [*zip(OVERLAYS, VERSIONS, strict=True)])
def test_manifests_are_sound(overlay: str, version: str) -> None:
    for manifest in manifests(overlay):
        if not manifest["apiVersion"].startswith("monitoring.coreos.com"):
            kubernetes_validate.validate(manifest, version, strict=True)


def test_a_manifest_that_is_not_sound_would_be_noticed() -> None:
    broken = copy.deepcopy(of_kind("Deployment")["gateway"])
    broken["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"]["pfad"] = "/"

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


@pytest.mark.skipif(kubectl() is None, reason="neither kubectl nor kustomize is on the path")
@each_overlay
def test_the_resolver_of_the_tests_comes_to_what_kubectl_comes_to(overlay: str) -> None:
    def plain(them: list[Manifest]) -> list[Any]:
        """Without the hash that kustomize adds to names, and the order of lists that it merged."""
        text = re.sub(r"(fastcms-settings)-[a-z0-9]{10}", r"\1", json.dumps(them))
        return sorted((_sorted(one) for one in json.loads(text)), key=_text)

    assert plain(resolved(K8S / "overlays" / overlay)) == plain(manifests(overlay))


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(one) for key, one in value.items()}
    if isinstance(value, list):
        return sorted((_sorted(one) for one in value), key=_text)
    return value


def with_component(name: str, folder: Path) -> list[Manifest]:
    """The overlay `prod` with the component that a comment there speaks of."""
    k8s = folder / "k8s"
    shutil.copytree(K8S, k8s)
    kustomization = k8s / "overlays" / "prod" / "kustomization.yaml"
    text = kustomization.read_text()
    assert f"  # - ../../components/{name}\n" in text
    kustomization.write_text(text.replace(f"# - ../../components/{name}", f"- ../../components/{name}"))
    return rendered(kustomization.parent)


@pytest.fixture(scope="module")
def with_mutual_tls(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return with_component("mutual-tls", tmp_path_factory.mktemp("mutual-tls"))


def test_with_tracing_every_process_reaches_the_port_of_the_collector_in_the_example(tmp_path: Path) -> None:
    example = (K8S / "overlays" / "prod" / "kustomization.yaml").read_text()
    address = re.search(r"OTEL_EXPORTER_OTLP_ENDPOINT=http://[\w-]+\.([\w-]+):(\d+)", example)
    assert address is not None

    (added,) = [one for one in with_component("tracing", tmp_path) if one not in manifests("prod")]

    kubernetes_validate.validate(added, VERSIONS[-1], strict=True)
    assert _names(added["spec"]["podSelector"]) == set(MEMBERS)
    (rule,) = added["spec"]["egress"]
    assert rule["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": address[1]}}}]
    assert rule["ports"] == [{"port": int(address[2])}]


def test_with_mutual_tls_each_process_has_a_certificate_in_the_name_that_it_is_called_by(with_mutual_tls) -> None:
    certificates = {one["metadata"]["name"]: one["spec"] for one in with_mutual_tls if one["kind"] == "Certificate"}
    deployments = [one for one in with_mutual_tls if one["kind"] == "Deployment"]
    assert {one["metadata"]["name"] for one in deployments} == set(MEMBERS)
    for deployment in deployments:
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)
        name, spec = deployment["metadata"]["name"], deployment["spec"]["template"]["spec"]
        (only,) = spec["containers"]
        environment = {one["name"]: one["value"] for one in only["env"]}
        (secret,) = [volume["secret"]["secretName"] for volume in spec["volumes"] if volume["name"] == "tls"]
        (mount,) = [one["mountPath"] for one in only["volumeMounts"] if one["name"] == "tls"]
        (certificate,) = [one for one in certificates.values() if one["secretName"] == secret]
        assert certificate["dnsNames"] == [name]
        assert ("server auth" in certificate["usages"]) == (name in STORING)
        files = {key: value for key, value in environment.items() if key.startswith("TLS_")}
        assert files == {
            "TLS_CERT_FILE": f"{mount}/tls.crt", "TLS_KEY_FILE": f"{mount}/tls.key", "TLS_CA_FILE": f"{mount}/ca.crt"
        }  # fmt: skip
        assert unknown_names(name, environment) == set()
        if name in STORING:
            # What the kubelet would ask without TLS, the process asks itself.
            for kind, target in {"startupProbe": "/", "readinessProbe": "", "livenessProbe": "/"}.items():
                assert only[kind]["exec"]["command"] == ["healthy", f"127.0.0.1:8000{target}"]
                assert "grpc" not in only[kind]


def test_the_nightly_backup_has_all_that_the_command_reads_and_is_confined(tmp_path: Path) -> None:
    added = {one["kind"]: one for one in with_component("backups", tmp_path) if one not in manifests("prod")}
    spec = added["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (only,) = spec["containers"]
    (secrets,) = [volume["secret"]["items"] for volume in spec["volumes"] if "secret" in volume]
    (claim,) = [one["persistentVolumeClaim"]["claimName"] for one in spec["volumes"] if one["name"] == "backups"]
    on_compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["cli"]["environment"]

    for manifest in added.values():
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
    assert {one["name"]: one["value"] for one in only["env"]} | {"APP_URL": on_compose["APP_URL"]} == on_compose
    files = {one["value"] for one in only["env"] if one["name"].endswith("_FILE")}
    assert files == {f"/run/secrets/{item['path']}" for item in secrets}
    assert claim == added["PersistentVolumeClaim"]["metadata"]["name"]
    assert {key: spec[key] for key in ("securityContext", "automountServiceAccountToken")} == {
        key: pod("auth-service")[key] for key in ("securityContext", "automountServiceAccountToken")
    }
    assert only["securityContext"] == container("auth-service")["securityContext"]


def test_no_manifest_is_left_out() -> None:
    for kustomization in K8S.rglob("kustomization.yaml"):
        text = kustomization.read_text()
        for file in kustomization.parent.iterdir():
            assert file.name in text or file == kustomization


@each_overlay
def test_every_process_of_the_suite_has_a_deployment(overlay: str) -> None:
    assert set(of_kind("Deployment", overlay)) == set(MEMBERS)


@each_process
def test_a_process_reads_what_it_is_told(name: str) -> None:
    (settings,) = of_kind("ConfigMap").values()
    known_to_one = set.intersection(*(unknown_names(other, settings["data"]) for other in MEMBERS))

    assert known_to_one == set()
    assert unknown_names(name, {one["name"]: one["value"] for one in container(name)["env"]}) == set()


@each_process
def test_a_process_is_given_the_secrets_that_its_environment_names(name: str) -> None:
    files = {one["value"] for one in container(name)["env"] if one["name"].endswith("_FILE")}
    (secrets,) = [volume["secret"]["items"] for volume in pod(name)["volumes"] if "secret" in volume]
    keys = {item["key"] for item in secrets}

    assert files == {f"/run/secrets/{item['path']}" for item in secrets}
    assert ("service-key" in keys) == (name in NEEDS_SERVICE_KEY)
    assert ("master-key" in keys) == (name == "auth-service")
    expected = {f"storage-url-{STORING[name]}"} if name in STORING else set()
    assert {key for key in keys if key.startswith("storage-url")} == expected


@each_process
def test_a_process_runs_the_image_and_the_module_of_the_run_commands_table(name: str) -> None:
    assert container(name)["image"].split(":")[0].endswith(f"/{image_of(name)}")
    if "command" in container(name):
        assert container(name)["command"] == ["python", "-P", "-m", MEMBERS[name].module]
    else:
        assert MEMBERS[name].module == name.replace("-", "_")


@each_process
def test_a_pod_keeps_to_the_standard_restricted(name: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and a root that is read only."""
    spec, security = pod(name), container(name)["securityContext"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is False
    assert not {key for key in spec if key.startswith("host")}
    assert all({"emptyDir", "secret"} & set(volume) for volume in spec["volumes"])


@each_process
def test_a_pod_is_asked_how_it_is_in_the_way_that_it_answers(name: str) -> None:
    probes = {kind: container(name)[kind] for kind in ("startupProbe", "livenessProbe")}
    if name in STORING:
        assert container(name)["readinessProbe"]["grpc"] == {"port": 8000, "service": "ready"}
        assert all(probe["grpc"]["port"] == 8000 for probe in probes.values())
    else:
        ports = {one["name"] for one in container(name)["ports"]}
        assert all(probe["httpGet"]["port"] in ports for probe in probes.values())


@each_process
def test_the_end_of_a_pod_waits_for_its_calls(name: str) -> None:
    pause = int(container(name)["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = SETTINGS[name].model_fields["drain_seconds"].default

    assert pod(name)["terminationGracePeriodSeconds"] >= pause + drain + 5


@each_process
def test_a_roll_out_goes_on_when_those_who_call_have_heard_of_the_new_pod(name: str) -> None:
    cached = 30
    spec = of_kind("Deployment")[name]["spec"]
    assert spec["minReadySeconds"] >= cached + RESOLVE_SOON + 1.2 * RESOLVE_EVERY
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@each_process
def test_a_pod_is_spread_and_survives_a_drained_node(name: str) -> None:
    spread = {one["topologyKey"] for one in pod(name)["topologySpreadConstraints"]}
    budget = of_kind("PodDisruptionBudget")[name]["spec"]
    scaler = of_kind("HorizontalPodAutoscaler").get(name)
    replicas = scaler["spec"]["minReplicas"] if scaler else of_kind("Deployment")[name]["spec"]["replicas"]

    assert spread == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert budget["selector"]["matchLabels"] == {NAME: name}
    assert budget["maxUnavailable"] == 1
    assert replicas >= 2
    # Two that both say how many there are would quarrel.
    assert scaler is None or "replicas" not in of_kind("Deployment")[name]["spec"]


def test_services_lead_to_ports_that_pods_have() -> None:
    for service in of_kind("Service").values():
        target = service["spec"]["selector"][NAME]
        ports = {one["name"] for one in container(target)["ports"]}
        assert {one["targetPort"] for one in service["spec"]["ports"]} <= ports


def test_services_are_found_at_names_that_give_all_their_addresses() -> None:
    (settings,) = of_kind("ConfigMap").values()
    for member in MEMBERS.values():
        if member.target:
            service = of_kind("Service")[member.name]
            assert settings["data"][member.target] == f"{member.name}:8000"
            assert service["spec"]["clusterIP"] == "None"
            assert {"name": "grpc", "port": 8000, "targetPort": "grpc"} in service["spec"]["ports"]


def test_the_charts_and_prometheus_ask_every_replica_of_every_process() -> None:
    (value,) = [one["value"] for one in container("scheduler-service")["env"] if one["name"] == "METRICS_TARGETS"]
    (monitor,) = of_kind("ServiceMonitor").values()
    (endpoint,) = monitor["spec"]["endpoints"]
    asked = set()
    for name, target in parse_targets(value).items():
        service = of_kind("Service")[target.partition(":")[0]]
        asked.add(name)
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["selector"] == {NAME: name}
        assert endpoint["port"] in {one["name"] for one in service["spec"]["ports"]}
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert asked == set(MEMBERS)


def test_the_ingress_leads_to_the_gateway_over_tls() -> None:
    (ingress,) = of_kind("Ingress").values()
    hosts = {rule["host"] for rule in ingress["spec"]["rules"]}
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    (settings,) = of_kind("ConfigMap").values()

    assert hosts == set(ingress["spec"]["tls"][0]["hosts"])
    assert settings["data"]["APP_URL"] == f"https://{hosts.pop()}"
    assert backend["port"]["name"] in {one["name"] for one in of_kind("Service")[backend["name"]]["spec"]["ports"]}


def _names(selector: Manifest) -> set[str]:
    """The processes that a pod selector means."""
    names = set(MEMBERS)
    if NAME in selector.get("matchLabels", {}):
        names = {selector["matchLabels"][NAME]}
    for expression in selector.get("matchExpressions", []):
        assert expression["key"] == NAME
        assert expression["operator"] == "In"
        names &= set(expression["values"])
    return names


def _allowed(direction: str, end: str) -> set[tuple[str, str]]:
    """Who may call whom on the port of gRPC, as (caller, called), by the policies of one direction."""
    pairs = set()
    for policy in of_kind("NetworkPolicy").values():
        for rule in policy["spec"].get(direction, []):
            if {"port": 8000} not in rule["ports"]:
                continue
            for peer in rule[end]:
                if "podSelector" in peer:
                    these, those = _names(policy["spec"]["podSelector"]), _names(peer["podSelector"])
                    callers, called = (those, these) if direction == "ingress" else (these, those)
                    pairs |= {(caller, one) for caller in callers for one in called}
    return pairs


def _calls_in_the_code() -> set[tuple[str, str]]:
    called = {member.target.lower(): member.name for member in MEMBERS.values() if member.target}
    pairs = {("gateway", called[target]) for target in PACKAGES.values()}
    for name, member in MEMBERS.items():
        folder = ROOT / image_of(name).removeprefix("fastcms-") / member.module.partition(".")[0]
        file = folder / f"{member.module.partition('.')[2] or '__main__'}.py"
        wiring = file.read_text()
        pairs |= {(name, called[target]) for target in re.findall(r"settings\.(\w+_service)\b", wiring)}
        if re.search(r"Process\(settings, \w+\)", wiring):
            # It fetches the keys that tokens are verified with.
            pairs.add((name, "auth-service"))
    return pairs


def test_policies_let_those_call_whom_the_code_calls_and_nobody_else() -> None:
    assert _allowed("egress", "to") == _calls_in_the_code()
    assert _allowed("ingress", "from") == _calls_in_the_code()


def test_what_no_policy_allows_is_refused() -> None:
    closed = of_kind("NetworkPolicy")["nothing-else"]["spec"]

    assert closed == {
        "podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "fastcms"}},
        "policyTypes": ["Ingress", "Egress"],
    }
    for name in MEMBERS:
        labels = of_kind("Deployment")[name]["spec"]["template"]["metadata"]["labels"]
        assert closed["podSelector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("policy", ["mongodb", "managed-mongodb"])
def test_only_those_that_store_reach_the_database(policy: str) -> None:
    assert _names(of_kind("NetworkPolicy")[policy]["spec"]["podSelector"]) == set(STORING)
