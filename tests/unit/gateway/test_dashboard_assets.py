"""The files of the dashboard, as they are found and named."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from gateway.dashboard_assets import Assets


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "table.js").write_text("export const table = 1;\n")
    (tmp_path / "LICENSE").write_text("All of it.\n")
    (tmp_path / "index.html").write_text(
        '    <!-- modules -->\n<script src="/admin/assets/VERSION/main.js"></script>\n'
    )
    return tmp_path


def test_a_file_is_found_by_its_path(folder: Path):
    asset = Assets(folder).find("parts/table.js")
    assert asset is not None
    assert asset.content_type == b"text/javascript; charset=utf-8"
    assert gzip.decompress(asset.compressed) == asset.body == b"export const table = 1;\n"


@pytest.mark.parametrize("name", ["LICENSE", "index.html", "parts", "../index.html", ""])
def test_nothing_else_is_found(folder: Path, name: str):
    assert Assets(folder).find(name) is None


def test_the_page_names_the_version_and_every_module(folder: Path):
    assets = Assets(folder)
    page = assets.page.body.decode()
    assert f'<script src="/admin/assets/{assets.version}/main.js"></script>' in page
    assert f'<link rel="modulepreload" href="/admin/assets/{assets.version}/parts/table.js" />' in page


def test_an_edited_file_is_another_version(folder: Path):
    assets = Assets(folder)
    before = assets.version
    assets.refresh()
    assert assets.version == before
    (folder / "parts" / "table.js").write_text("export const table = 2000;\n")
    assets.refresh()
    assert assets.version != before
    edited = assets.find("parts/table.js")
    assert edited is not None
    assert edited.body == b"export const table = 2000;\n"
    assert assets.version.encode() in assets.page.body
