"""The files of the dashboard as the gateway serves them: compressed once, found by a version that is in their address.

The version is a hash over all files, so browsers may keep them for good; only the page that names it is asked for anew.
A file that is edited is served at the next load of the page: nothing has to be built or restarted.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STATIC: Final = Path(__file__).parent / "static" / "admin"

_TYPES: Final = {
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_PAGE: Final = "index.html"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file. `tag` is its ETag."""

    body: bytes
    compressed: bytes
    content_type: bytes
    tag: bytes


class Assets:
    """The files below a folder: scripts, styles and pictures, and the one page."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._folder = folder
        self._seen: tuple[tuple[str, int, int], ...] = ()
        self._files: dict[str, Asset] = {}
        self.version = ""
        self.refresh()

    def refresh(self) -> None:
        """Reads the files again where any has changed: a look at some sixty of them takes a fifth of a millisecond."""
        seen = self._look()
        if seen == self._seen:
            return
        contents = {name: (self._folder / name).read_bytes() for name, _, _ in seen}
        digest = hashlib.sha256()
        for name, content in contents.items():
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
        self.version = digest.hexdigest()[:16]
        self._files = {
            name: _asset(content, _TYPES[Path(name).suffix]) for name, content in contents.items() if name != _PAGE
        }
        self._files[_PAGE] = _asset(self._page(contents[_PAGE]), b"text/html; charset=utf-8")
        self._seen = seen

    @property
    def page(self) -> Asset:
        """The page that every address of the dashboard shows."""
        return self._files[_PAGE]

    def find(self, name: str) -> Asset | None:
        """The file by its path below the folder."""
        return self._files.get(name) if name != _PAGE else None

    @property
    def compressed_size(self) -> int:
        """Bytes that a first visit loads."""
        return sum(len(asset.compressed) for asset in self._files.values())

    def _look(self) -> tuple[tuple[str, int, int], ...]:
        found = []
        for path in sorted(self._folder.rglob("*")):
            if path.suffix in _TYPES or path.name == _PAGE:
                status = path.stat()
                found.append((path.relative_to(self._folder).as_posix(), status.st_mtime_ns, status.st_size))
        return tuple(found)

    def _page(self, content: bytes) -> bytes:
        """The page with the version in it, and every module named, so that none waits for the one that imports it."""
        scripts = sorted(name for name, _, _ in self._look() if name.endswith(".js"))
        preloads = "\n".join(
            f'    <link rel="modulepreload" href="/admin/assets/VERSION/{name}" />' for name in scripts
        )
        return content.replace(b"    <!-- modules -->", preloads.encode()).replace(
            b"/VERSION/", f"/{self.version}/".encode()
        )


def _asset(content: bytes, content_type: bytes) -> Asset:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'.encode()
    return Asset(content, gzip.compress(content, 9, mtime=0), content_type, tag)
