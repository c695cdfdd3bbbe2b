"""An image holds what its service declares, and no more: so a service has to declare what it imports."""

from __future__ import annotations

import ast
import sys
import tomllib
from functools import cache
from importlib.metadata import distribution, packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.unit.deploy.rendering import ROOT
from tests.unit.deploy.test_images import DISTRIBUTIONS, package_of

OURS = {package_of(name).name for name in DISTRIBUTIONS}


def requirements_of(name: str) -> list[str]:
    """What a distribution needs; of ours, as it is written now and not as it was when it was installed."""
    folder = ROOT / name.removeprefix("fastcms-")
    if name.startswith("fastcms-"):
        return list(tomllib.loads((folder / "pyproject.toml").read_text())["project"]["dependencies"])
    return distribution(name).requires or []


def closure(requirement: Requirement, known: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The distributions that installing `requirement` brings, as (name, extra), with those that are `known`."""
    for extra in {"", *requirement.extras}:
        here = (canonicalize_name(requirement.name), extra)
        if here in known:
            continue
        known.add(here)
        for line in requirements_of(requirement.name):
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                closure(needed, known)
    return known


@cache
def modules() -> dict[str, set[str]]:
    """By top-level module: the distributions that it may come from."""
    return {module: {canonicalize_name(name) for name in names} for module, names in packages_distributions().items()}


def imported(name: str) -> set[str]:
    """The top-level modules that a distribution of ours imports, but for Python's own and ours."""
    found = set()
    for file in package_of(name).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - OURS - {"google"}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_distribution_declares_what_it_imports(name: str) -> None:
    declared = {one for one, _ in closure(Requirement(f"fastcms-{name}"), set())}

    undeclared = {module for module in imported(name) if not modules().get(module, set()) & declared}

    assert undeclared == set()


def test_the_scheduler_has_what_celery_needs_for_redis() -> None:
    declared = closure(Requirement("fastcms-scheduler-service"), set())

    assert ("celery", "redis") in declared
    assert {"redis", "packaging"} <= {name for name, _ in declared}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_what_a_distribution_needs_is_pinned(name: str) -> None:
    pinned = {
        canonicalize_name(line.partition("==")[0])
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line
    }
    needed = {one for one, _ in closure(Requirement(f"fastcms-{name}"), set())}

    assert {one for one in needed if not one.startswith("fastcms-")} <= pinned
