"""docs/audit-events.md has one row for every event that the services write."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
TYPES = {"auth", "user", "admin", "collection", "record", "security", "system"}
SERVICES = ("auth-service", "collections-service", "admin-service", "scheduler-service", "gateway", "cli")
ACTION = re.compile(r"[a-z]+(_[a-z]+)*")
ROW = re.compile(r"^\| (\w+) \| `(\w+)` \|", re.MULTILINE)


def documented() -> set[tuple[str, str]]:
    return set(ROW.findall((ROOT / "docs" / "audit-events.md").read_text()))


def calls(source: str) -> Iterator[tuple[str, list[object]]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield name, [one.value if isinstance(one, ast.Constant) else None for one in node.args[:3]]


def written() -> Iterator[tuple[str | None, str, str]]:
    """Type (None where a helper gives it), action and file of every event in the sources."""
    for service in SERVICES:
        for path in sorted((ROOT / service).rglob("*.py")):
            source = path.read_text()
            if "audit" not in source:
                continue
            for name, arguments in calls(source):
                texts = [one for one in arguments if isinstance(one, str)]
                if name in ("record", "build_event") and len(arguments) > 1 and arguments[0] in TYPES:
                    if isinstance(arguments[1], str):
                        yield str(arguments[0]), arguments[1], path.name
                elif name in ("_note", "_record", "_after_password"):
                    # Helpers take the action first, or second behind whom it is about.
                    yield from ((None, text, path.name) for text in texts[:1] if ACTION.fullmatch(text))


def test_every_event_that_is_written_has_a_row():
    rows = documented()
    actions = {action for _, action in rows}
    missing = {
        (kind or "?", action, file)
        for kind, action, file in written()
        if ((kind, action) not in rows if kind else action not in actions)
    }
    assert not missing


def test_every_row_is_of_an_event_that_is_written():
    actions = {action for _, action, _ in written()}
    assert {action for _, action in documented()} - actions == set()


def test_the_sources_are_really_read():
    assert len({action for _, action, _ in written()}) > 25
