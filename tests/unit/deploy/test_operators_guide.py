"""deploy/README.md says what is so: settings as the code has them, metrics that exist, files that are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_core import PydanticUndefined

from tests.unit.deploy.rendering import ROOT
from tests.unit.deploy.suite_table import SETTINGS, STORING

GUIDE = (ROOT / "deploy" / "README.md").read_text()
NEEDED = "needed"


def _as_written(default: Any) -> str:
    if default is PydanticUndefined:
        return NEEDED
    if default is None or default == "" or default == frozenset() or default == {}:
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def _settings_of_the_code() -> dict[str, tuple[str, str]]:
    """By name: the default and who reads it, as the guide writes them."""
    found: dict[str, dict[str, str]] = {}
    for process, settings in SETTINGS.items():
        for name, field in settings.model_fields.items():
            default = field.get_default(call_default_factory=True)
            found.setdefault(name.upper(), {})[process] = _as_written(default)
    return {
        name: (
            NEEDED if NEEDED in readers.values() else next(iter(set(readers.values()))),
            "all" if len(readers) == len(SETTINGS) else ", ".join(readers),
        )
        for name, readers in found.items()
    }


def test_the_table_of_settings_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \| ([^|]+) \|", GUIDE, re.MULTILINE)

    assert {name: (default, readers) for name, default, readers in rows} == _settings_of_the_code()


def test_every_metric_that_is_named_exists() -> None:
    sources = "".join(path.read_text() for path in ROOT.glob("*/*/**/*.py") if "tests" not in path.parts)
    exposed = set(re.findall(r'(?:Counter|Histogram|Gauge)\(\s*"(\w+)"', sources))
    named = {name.removesuffix("_total") for name in re.findall(r"`((?:fastcms|auth)_[a-z_]+)[`{]", GUIDE)}
    databases = {f"fastcms_{name}" for name in STORING.values()}

    assert named - databases == exposed


def test_what_the_guide_leads_to_is_there() -> None:
    targets = re.findall(r"\]\((?!https:)([^)#]+)", GUIDE)
    named = re.findall(r"(?:deploy/|overlays/)[\w./-]+[\w]", GUIDE)

    assert targets
    assert all((ROOT / "deploy" / target).resolve().exists() for target in targets)
    made = {"deploy/secrets/smtp-url", "deploy/secrets/setup-token"}
    assert [path for path in named if path not in made and not _exists(path)] == []


def _exists(path: str) -> bool:
    return any((folder / path).exists() for folder in (ROOT, ROOT / "deploy" / "k8s"))


@pytest.mark.parametrize("guide", ["deploy/README.md", "deploy/secrets/README.md"])
def test_every_secret_is_told_of(guide: str) -> None:
    text = (ROOT / guide).read_text()
    secrets = set(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["secrets"])
    grouped = {secret for secret in secrets if secret.startswith("storage-url-")}

    assert [secret for secret in secrets - grouped if f"`{secret}`" not in text] == []
    assert "`storage-url-" in text


def test_the_kubernetes_versions_are_those_that_are_tried() -> None:
    tried = re.search(
        r'^VERSIONS = \("([\d.]+)"', (Path(__file__).parent / "test_kubernetes.py").read_text(), re.MULTILINE
    )

    assert tried is not None
    assert f"{tried[1]} or newer" in GUIDE
