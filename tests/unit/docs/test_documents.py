"""What the documents point to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENTS = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md")),
]
SOURCES = [path for folder in ROOT.iterdir() if not folder.name.startswith(".") for path in folder.rglob("*.*")]
# Files of libraries that a decision speaks of.
ELSEWHERE = ("lark/", "lalr_parser")
NAMED = re.compile(r"`((?:[\w-]+/)*[\w-]+\.(?:py|proto|sh|toml|lock|md|yml))`")
LINKED = re.compile(r"\]\((?!https?://|#)([^)#]+)[^)]*\)")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_a_document_names_exist(document: str):
    text = (ROOT / document).read_text()
    known = [str(path) for path in SOURCES] + [str(path) for path in ROOT.iterdir()]
    named = [name for name in NAMED.findall(text) if not name.startswith(ELSEWHERE)]
    missing = [name for name in named if not any(path.endswith(f"/{name}") for path in known)]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_within_the_repository_lead_somewhere(document: str):
    folder = (ROOT / document).parent
    targets = LINKED.findall((ROOT / document).read_text())
    assert [target for target in targets if not (folder / target).exists()] == []
