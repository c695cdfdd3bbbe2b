"""The file that a backup is: a tar of its parts with `manifest.json` at the end, so that one cut short is none.

The manifest: `format` (1), `created`, `fastcms` (the version), `engine`, `consistent`, `keys` (fingerprints of the
master and the service key, and whether they are inside), `parts` ([{name, bytes, sha256}]). An archive with a name that
ends in `.gz` is compressed.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, Self

from fastcms_cli.deployment import Failed
from fastcms_common.storage.snapshots import Advance

FORMAT = 1
MANIFEST = "manifest.json"
CHUNK = 1 << 20
# A name leads nowhere else: relative, and no part of it begins with a dot.
NAME = re.compile(r"(?:data|redis|files)(?:/[A-Za-z0-9_%+@=,-][^/\0]*)+")


class Writer:
    """Writes an archive; it has its name only when it is whole. Nobody but its owner may read it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(path.name + ".part")
        self._parts: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        try:
            self._part.unlink(missing_ok=True)
            self._part.touch(mode=0o600)
            self._tar = tarfile.open(self._part, "w:gz" if self.path.name.endswith(".gz") else "w")
        except OSError as error:
            raise Failed(f"{self.path} cannot be written: {error.strerror}") from None
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        with suppress(OSError):
            self._tar.close()
        self._part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            # A disk that is full, most likely; tarfile's own errors of this kind have no number.
            raise Failed(f"{self.path} cannot be written: {error.strerror or error}") from None

    def add(self, name: str, file: Path) -> None:
        """Takes a file in, as it is now."""
        with file.open("rb") as source:
            self._add(name, source, file.stat().st_size)

    def add_bytes(self, name: str, content: bytes) -> None:
        """Takes in what is given."""
        self._add(name, io.BytesIO(content), len(content))

    def finish(self, facts: dict[str, Any]) -> int:
        """Writes the manifest and gives the archive its name; how many bytes it has."""
        content = json.dumps({"format": FORMAT, **facts, "parts": self._parts}, indent=2).encode()
        self._tar.addfile(_member(MANIFEST, len(content)), io.BytesIO(content))
        self._tar.close()
        self._part.replace(self.path)
        return self.path.stat().st_size

    def _add(self, name: str, source: BinaryIO, size: int) -> None:
        # A file that grows meanwhile is taken as long as it was; one that shrinks is an error of tarfile's.
        reader = _Hashing(source, size)
        self._tar.addfile(_member(name, size), reader)
        self._parts.append({"name": name, "bytes": size, "sha256": reader.digest.hexdigest()})


class _Hashing:
    def __init__(self, source: BinaryIO, size: int) -> None:
        self._source = source
        self._left = size
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        self.digest.update(data)
        return data


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


class Reader:
    """An archive, checked through and through before anything is taken out of it. Failed where it is not whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: dict[str, Any] = {}

    def check(self, advance: Advance) -> None:
        """Reads everything, and compares it with the manifest."""
        with _readable(self.path):
            found, manifest = self._checksums(advance)
        self.manifest = self._read(manifest)
        expected = {part["name"]: part for part in self.manifest["parts"]}
        wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        if wrong:
            raise Failed(f"{self.path} is damaged: {', '.join(wrong[:5])} do not have their checksums")

    def _checksums(self, advance: Advance) -> tuple[dict[str, dict[str, Any]], bytes | None]:
        found: dict[str, dict[str, Any]] = {}
        manifest = None
        for member, content in self._members():
            if manifest is not None:
                raise Failed(f"{self.path} goes on behind its manifest: it was altered")
            if member.name == MANIFEST:
                manifest = content.read()
                continue
            if not member.isreg() or not NAME.fullmatch(member.name) or member.name in found:
                raise Failed(f"{self.path} holds {member.name!r}, which no backup holds")
            digest = hashlib.sha256()
            while chunk := content.read(CHUNK):
                digest.update(chunk)
                advance(len(chunk))
            found[member.name] = {"name": member.name, "bytes": member.size, "sha256": digest.hexdigest()}
        return found, manifest

    def parts(self, beside: Path) -> Iterator[tuple[str, Path]]:
        """Each part, as a file in a folder in `beside`; it is there until the next one is asked for."""
        with tempfile.TemporaryDirectory(prefix=".restoring-", dir=beside) as folder:
            for member, content in self._members():
                if member.name != MANIFEST:
                    file = Path(folder) / "part"
                    with file.open("wb") as out:
                        while chunk := content.read(CHUNK):
                            out.write(chunk)
                    yield member.name, file
                    file.unlink(missing_ok=True)

    def _members(self) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
        with tarfile.open(self.path, "r|*") as tar:
            for member in tar:
                yield member, tar.extractfile(member) or io.BytesIO()

    def _read(self, manifest: bytes | None) -> dict[str, Any]:
        if manifest is None:
            raise Failed(f"{self.path} is no backup, or was cut short: it has no manifest")
        try:
            read: dict[str, Any] = json.loads(manifest)
            known = read["format"] == FORMAT and {"engine", "keys", "parts"} <= read.keys()
        except (ValueError, KeyError, TypeError):
            raise Failed(f"{self.path}: its manifest cannot be read") from None
        if not known:
            raise Failed(f"{self.path} was made by another release of fastcms (format {read['format']})")
        return read


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise Failed(f"{path} is no backup, or is damaged: {error}") from None
