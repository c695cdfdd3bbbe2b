"""What axe-core says of a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

_AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()


def findings(page: Page, *rules: str) -> list[str]:
    """What axe-core finds serious or worse: rule, what it means, and the first place. Of all its rules or of some.

    Where a dialog is open the page behind it is out of reach.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(_AXE)
    options: dict[str, Any] = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
    run = "options => axe.run([...document.querySelectorAll('dialog')].at(-1) ?? document, options)"
    result = page.evaluate(run, options)
    return [
        f"{one['id']}: {one['help']} ({len(one['nodes'])} times, first {one['nodes'][0]['html'][:200]})"
        for one in result["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def both_schemes(page: Page) -> list[str]:
    """The findings in light, and what dark adds: it differs in colours only."""
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    bad = findings(page)
    page.emulate_media(color_scheme="dark")
    return bad + findings(page, "color-contrast")
