"""`fastcms backup`: everything a suite has, in one file, while it runs.

Redis is read first and the databases after it, each at one moment: what passes from Redis to a database meanwhile is
in both, and its consumers recognise what they have had; the other way round it could be in neither. So all that was
acknowledged before the backup began is in it.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastcms_cli import audit, redis_copy
from fastcms_cli.archive import Writer
from fastcms_cli.deployment import Deployment, Failed
from fastcms_cli.fingerprints import fingerprint
from fastcms_cli.progress import bar
from fastcms_common.storage.snapshots import CopyFailed, Snapshot, engine_of, snapshot

REDIS_PART = "redis/keys.ndjson"
FOLDERS = ("outbox", "exports")
KEYS = ("master.key", "service.key")


@dataclass(frozen=True, slots=True)
class Done:
    """`consistent`: each database is as it was at one moment; `keys_inside`: the archive can be opened by itself."""

    path: Path
    size: int
    consistent: bool
    keys_inside: bool


def backup(deployment: Deployment, to: Path, *, fuzzy: bool, keys: bool) -> Done:
    """Writes the archive `to`. Raises Failed, BadStart.

    `fuzzy`: also from a MongoDB that cannot show one moment; `keys`: with the keys of a bare run (those of a
    deployment never go into an archive).
    """
    to = to.expanduser().absolute()
    if to.exists():
        raise Failed(f"{to} is there already")
    inside = keys and deployment.master_key_file is None and deployment.service_key_file is None
    facts: dict[str, Any] = {
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "fastcms": version("fastcms"),
        "keys": {
            "master": fingerprint(deployment.master_key),
            "service": fingerprint(deployment.service_key),
            "included": inside,
        },
    }
    with deployment.redis() as redis_url:
        with Writer(to) as archive:
            with redis_copy.connected(redis_url) as client:
                archive.add_bytes(REDIS_PART, redis_copy.dumped(client))
            try:
                urls = deployment.storage_urls()
                with snapshot(urls, fuzzy=fuzzy) as databases:
                    _copy(databases, archive)
                    facts |= {"engine": engine_of(urls), "consistent": databases.consistent}
            except CopyFailed as error:
                raise Failed(str(error)) from None
            _add_files(deployment, archive, with_keys=inside)
            size = archive.finish(facts)
        audit.record(
            "system",
            "backup_created",
            redis_url=redis_url,
            severity="warning",
            description="The operator made a backup of everything",
            details={"file": to.name},
        )
    return Done(to, size, facts["consistent"], inside)


def _copy(databases: Snapshot, archive: Writer) -> None:
    parts = databases.parts()
    with (
        tempfile.TemporaryDirectory(prefix=".backing-up-", dir=archive.path.parent) as folder,
        bar("Copying databases", sum(parts.values())) as advance,
    ):
        for part in parts:
            file = Path(folder) / "part"
            databases.copy(part, file, advance)
            archive.add(f"data/{part}", file)
            file.unlink()


def _add_files(deployment: Deployment, archive: Writer, *, with_keys: bool) -> None:
    for name in FOLDERS:
        for root, _, files in os.walk(deployment.folder / name):
            for file in sorted(Path(root) / one for one in files):
                # What is being written has a dot or a suffix of its own, and is gone a moment later.
                if not file.name.startswith(".") and file.is_file():
                    archive.add(f"files/{file.relative_to(deployment.folder)}", file)
    for name in KEYS if with_keys else ():
        archive.add(f"files/secrets/{name}", deployment.folder / "secrets" / name)
