"""Which files are exports, and which are nobody's business."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastcms_common.errors import NotFound, Unavailable
from fastcms_common.times import from_text
from scheduler_service.export_files import ExportFile, ExportFiles, file_name

OLD, NEW = "posts-20260301T000000Z-0a1b2c3d.ndjson", "posts-20260302T000000Z-00000000.csv"
OTHER = "posts_2-20260303T000000Z-ffffffff.ndjson"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "exports"
    folder.mkdir()
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / OLD).write_text("outside")
    for name, text in ((OLD, "1\n"), (NEW, "22\n"), (OTHER, "")):
        (folder / name).write_text(text)
    return folder


async def names(files: ExportFiles, task: str = "", limit: int = 10, offset: int = 0) -> list[str]:
    page, _ = await files.page(task, limit, offset)
    return [file.name for file in page]


async def test_files_are_listed_newest_first_by_job_and_page(folder: Path):
    files = ExportFiles(folder)
    assert await names(files) == [OTHER, NEW, OLD]
    assert await names(files, "posts") == [NEW, OLD]
    assert await names(files, limit=1, offset=1) == [NEW]
    assert (await files.page("", 1, 1))[1] == 3
    assert await files.page("nonesuch", 10, 0) == ([], 0)
    page, _ = await files.page("posts", 1, 0)
    assert page == [ExportFile(NEW, "posts", "csv", 3, from_text("2026-03-02T00:00:00Z"))]


async def test_what_a_run_writes_is_found_under_its_job(folder: Path):
    name = file_name("nightly_1", "019d2f6c-5c00-7abc-8def-0123456789ab", "csv")
    (folder / name).write_text("x")
    assert await names(ExportFiles(folder), "nightly_1") == [name]


async def test_what_is_not_complete_or_no_file_is_no_export(folder: Path):
    (folder / f"{OLD}.17.part").write_text("half")
    (folder / "notes.txt").write_text("x")
    (folder / "posts-20260230T000000Z-0a1b2c3d.csv").write_text("no such day")
    (folder / "posts-20260304T000000Z-0a1b2c3d.csv").mkdir()
    os.mkfifo(folder / "posts-20260305T000000Z-0a1b2c3d.csv")
    (folder / "posts-20260306T000000Z-0a1b2c3d.csv").symlink_to(folder.parent / "secret")
    files = ExportFiles(folder)
    assert await names(files) == [OTHER, NEW, OLD]
    others = set(os.listdir(folder)) - {OTHER, NEW, OLD}
    for name in others:
        for act in (files.open, files.remove):
            with pytest.raises(NotFound):
                await act(name)
    assert others <= set(os.listdir(folder))


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "/etc/passwd", "../secret", f"../{OLD}", f"./{OLD}", f"x/../{OLD}", f"{OLD}/", f"{OLD}\n",
        f"{OLD}\0", f"..\\{OLD}", f"%2e%2e%2f{OLD}", OLD.upper(), OLD.replace("2026", "２０２６"),
        "posts-20260309T000000Z-0a1b2c3d.csv",
    ],
)  # fmt: skip
async def test_no_name_leads_out_of_the_folder(folder: Path, name: str):
    files = ExportFiles(folder)
    for act in (files.open, files.remove):
        with pytest.raises(NotFound) as caught:
            await act(name)
        assert caught.value.reason == "EXPORT_NOT_FOUND"
    assert (folder.parent / OLD).read_text() == "outside"
    assert await names(files) == [OTHER, NEW, OLD]


async def test_a_file_that_is_removed_while_it_is_read_is_read_to_its_end(folder: Path):
    files = ExportFiles(folder)
    file, stream = await files.open(NEW)
    assert (await files.remove(NEW)) == file
    with stream:
        assert stream.read() == b"22\n"
    with pytest.raises(NotFound):
        await files.open(NEW)


async def test_a_folder_that_is_not_there_is_empty_and_one_that_cannot_be_read_is_said_so(tmp_path: Path):
    assert await ExportFiles(tmp_path / "exports").page("", 10, 0) == ([], 0)
    with pytest.raises(NotFound):
        await ExportFiles(tmp_path / "exports").open(OLD)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable):
        await ExportFiles(tmp_path / "file").page("", 10, 0)
