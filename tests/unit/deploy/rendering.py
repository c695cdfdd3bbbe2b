"""What a kustomization comes to: by `kubectl` where it is on the path, else by the few features that ours use."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
K8S = ROOT / "deploy" / "k8s"

Manifest = dict[str, Any]

# By which key kustomize matches the items of a list.
_MERGE_KEYS = ("name", "mountPath", "containerPort")


def loaded_all(text: str) -> list[Manifest]:
    """The documents of a YAML file; by libyaml, where PyYAML was built with it."""
    return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def kubectl() -> str | None:
    return shutil.which("kubectl") or shutil.which("kustomize")


@cache
def _rendered_by_kubectl(folder: Path) -> str:
    tool = kubectl()
    command = [str(tool), "kustomize" if str(tool).endswith("kubectl") else "build", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def rendered(folder: Path) -> list[Manifest]:
    """The manifests of the kustomization in `folder`."""
    if kubectl():
        return loaded_all(_rendered_by_kubectl(folder))
    return resolved(folder)


def resolved(folder: Path, component_of: list[Manifest] | None = None) -> list[Manifest]:
    """The same without kubectl: resources, components, patches by kind, generated ConfigMaps (without a hash in their
    names), replicas, images, labels and the namespace. KeyError for a feature that it does not know.

    A component changes, and is added to, the manifests of what it is a component of.
    """
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    manifests: list[Manifest] = [] if component_of is None else component_of
    for name in kustomization.get("resources", ()):
        manifests += _loaded(folder / name)
    for name in kustomization.get("components", ()):
        resolved(folder / name, manifests)
    for key in kustomization:
        if key not in ("apiVersion", "kind"):
            _FEATURES[key]
    for key, feature in _FEATURES.items():
        if key in kustomization:
            feature(folder, kustomization[key], manifests)
    return manifests


def _loaded(path: Path) -> list[Manifest]:
    return resolved(path) if path.is_dir() else loaded_all(path.read_text())


def _generate(folder: Path, generators: list[Manifest], manifests: list[Manifest]) -> None:
    for generator in generators:
        lines = list(generator.get("literals", []))
        for name in generator.get("envs", []):
            lines += (folder / name).read_text().splitlines()
        data = dict(line.split("=", 1) for line in lines if line)
        known = [one for one in manifests if one["kind"] == "ConfigMap"]
        if generator.get("behavior") == "merge":
            known[0]["data"] |= data
        else:
            manifests.append(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data}
            )


def _patch(folder: Path, patches: list[Manifest], manifests: list[Manifest]) -> None:
    for patch in patches:
        change = yaml.safe_load(patch["patch"] if "patch" in patch else (folder / patch["path"]).read_text())
        del change["metadata"]["name"]
        kind, name = patch["target"]["kind"], patch["target"].get("name", ".*")
        for manifest in manifests:
            if manifest["kind"] == kind and re.fullmatch(name, manifest["metadata"]["name"]):
                _merge(manifest, change)


def _merge(target: Manifest, change: Manifest) -> None:
    for key, value in change.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        elif isinstance(value, list) and isinstance(target.get(key), list):
            _merge_lists(target[key], value)
        else:
            target[key] = copy.deepcopy(value)


def _merge_lists(target: list[Any], change: list[Any]) -> None:
    for item in change:
        key = next((key for key in _MERGE_KEYS if isinstance(item, dict) and key in item), None)
        same = [one for one in target if key is not None and one.get(key) == item[key]]
        if same:
            _merge(same[0], item)
        else:
            target.append(copy.deepcopy(item))


def _label(folder: Path, labels: list[Manifest], manifests: list[Manifest]) -> None:
    for manifest in manifests:
        for one in labels:
            manifest["metadata"].setdefault("labels", {}).update(one["pairs"])


def _count(folder: Path, counts: list[Manifest], manifests: list[Manifest]) -> None:
    for count in counts:
        for manifest in manifests:
            if manifest["kind"] == "Deployment" and manifest["metadata"]["name"] == count["name"]:
                manifest["spec"]["replicas"] = count["count"]


def _image(folder: Path, images: list[Manifest], manifests: list[Manifest]) -> None:
    new = {one["name"]: f"{one['newName']}:{one['newTag']}" for one in images}
    for manifest in manifests:
        if manifest["kind"] == "Deployment":
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                container["image"] = new.get(container["image"], container["image"])


def _place(folder: Path, namespace: str, manifests: list[Manifest]) -> None:
    for manifest in manifests:
        if manifest["kind"] != "Namespace":
            manifest["metadata"]["namespace"] = namespace


_FEATURES: dict[str, Any] = {
    "configMapGenerator": _generate,
    "patches": _patch,
    "labels": _label,
    "replicas": _count,
    "images": _image,
    "namespace": _place,
    "resources": lambda *_: None,
    "components": lambda *_: None,
}
