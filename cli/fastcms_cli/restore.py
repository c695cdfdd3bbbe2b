"""`fastcms restore`: a backup, put where there is nothing yet. The archive is checked as a whole before that."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from pathlib import Path

from fastcms_cli import audit, redis_copy
from fastcms_cli.archive import Reader
from fastcms_cli.backup import REDIS_PART
from fastcms_cli.data_folder import UNFINISHED, DataFolder
from fastcms_cli.deployment import Deployment, Failed, private_redis
from fastcms_cli.fingerprints import fingerprint
from fastcms_cli.progress import bar
from fastcms_common.storage.snapshots import CopyFailed, Destination, destination, engine_of


def restore(deployment: Deployment, source: Path, *, force: bool) -> Reader:
    """Puts the archive `source` back. `force`: in the place of what is there. Raises Failed, BadStart."""
    archive = Reader(source)
    if not source.is_file():
        raise Failed(f"there is no file {source}")
    with bar("Checking the backup", source.stat().st_size) as advance:
        archive.check(advance)
    _check_fit(deployment, archive)
    with ExitStack() as stack:
        # Held until the end: no run starts on what is half there.
        folder = stack.enter_context(closing(DataFolder(deployment.folder)))
        try:
            target = stack.enter_context(closing(destination(deployment.storage_urls())))
            _put(deployment, archive, folder, target, force=force)
        except CopyFailed as error:
            raise Failed(str(error)) from None
        except OSError as error:
            raise Failed(f"{folder.path} cannot be written: {error.strerror}. Make room, and restore again") from None
    return archive


def _check_fit(deployment: Deployment, archive: Reader) -> None:
    """That this deployment has the engine that the archive is of, and the keys that open what is sealed in it."""
    manifest = archive.manifest
    engine = engine_of(deployment.storage_urls())
    if manifest["engine"] != engine:
        raise Failed(f"the backup is of {manifest['engine']}, and STORAGE_URL says {engine}")
    for kind, given in (("master", deployment.master_key_file), ("service", deployment.service_key_file)):
        file = given or (None if manifest["keys"]["included"] else getattr(deployment, f"{kind}_key"))
        if file is not None and fingerprint(file) != manifest["keys"][kind]:
            raise Failed(f"{file} is not the {kind} key that the backup needs (fingerprint {manifest['keys'][kind]})")


def _put(deployment: Deployment, archive: Reader, folder: DataFolder, target: Destination, *, force: bool) -> None:
    unfinished = folder.path / UNFINISHED
    bare = deployment.redis_url is None
    there = target.occupied()
    if bare and (folder.path / "redis").exists():
        there.append(str(folder.path / "redis"))
    if there and not (force or unfinished.exists()):
        raise Failed(f"there is something already: {', '.join(there)}. --force puts the backup in its place")
    with ExitStack() as stack:
        if not bare:
            redis_url = deployment.redis_url.get_secret_value() if deployment.redis_url else ""
            _clear_redis(redis_url, force=force or unfinished.exists())
        unfinished.touch(mode=0o600)
        aside = f"replaced-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        target.clear(aside)
        if bare:
            _move_aside(folder.path, "redis", aside)
            redis_url = stack.enter_context(private_redis(folder)).url
        _put_parts(archive, folder, target, redis_url)
        audit.record(
            "system",
            "backup_restored",
            redis_url=redis_url,
            severity="critical",
            description="The operator put a backup in the place of everything",
            details={"file": archive.path.name, "created": archive.manifest["created"]},
        )
    unfinished.unlink()


def _clear_redis(url: str, *, force: bool) -> None:
    with redis_copy.connected(url) as client:
        if redis_copy.listened_to(client):
            raise Failed("the suite is running (its processes listen to this Redis): stop it first")
        if redis_copy.occupied(client) and not force:
            raise Failed("the Redis holds a suite's keys already. --force takes them away")
        redis_copy.clear(client)


def _move_aside(folder: Path, name: str, aside: str) -> None:
    if (folder / name).exists():
        (folder / aside).mkdir(mode=0o700, exist_ok=True)
        (folder / name).replace(folder / aside / name)


def _put_parts(archive: Reader, folder: DataFolder, target: Destination, redis_url: str) -> None:
    total = sum(part["bytes"] for part in archive.manifest["parts"])
    with bar("Restoring", total) as advance, redis_copy.connected(redis_url) as client:
        for name, file in archive.parts(folder.path):
            size = file.stat().st_size
            kind, _, rest = name.partition("/")
            if kind == "data":
                target.put(rest, file)
            elif name == REDIS_PART:
                redis_copy.restored(client, file.read_bytes())
            else:
                _put_file(folder.path / rest, file)
            advance(size)


def _put_file(path: Path, source: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source.chmod(0o600)
    source.replace(path)
