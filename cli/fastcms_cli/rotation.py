"""`fastcms rotate-keys`: new signing keys, a new master key, a new service key, and nothing lost.

A key file may have two lines: the key in force, and the one before it, which opens still. What is sealed under the one
before is sealed anew, and then only refresh tokens need it: one that is used is followed by one of the key in force.
In a data folder all of that is one command, with the suite stopped; a deployment's files are its operator's, and the
command does the middle part, while everything runs.
"""

from __future__ import annotations

import base64
import secrets
from contextlib import closing
from pathlib import Path

from fastcms_cli import maintenance
from fastcms_cli.data_folder import DataFolder, replace_file
from fastcms_cli.deployment import Deployment, Failed, private_redis

SEALED_WITH = {"master": ("auth_service",), "service": ("admin_service", "scheduler_service")}
"""By key: whose data has to be sealed anew."""


def signing(deployment: Deployment) -> str:
    """Makes the next signing key; the sentence that says so."""
    with deployment.redis() as redis_url:
        kid = maintenance.call(deployment, redis_url, "auth_service", "rotate-signing-keys")["kid"]
    return f"the signing key {kid} is published, and signs in ten minutes; tokens signed before stay good"


def exchange(deployment: Deployment, kind: str, *, forget: bool) -> str:
    """Exchanges the master or the service key; the sentence that says so. Raises Failed, BadStart.

    Where the file has two lines an exchange was begun, and is gone on with. `forget` takes the former key away.
    """
    given: Path | None = getattr(deployment, f"{kind}_key_file")
    if given is not None:
        return _reseal_deployed(deployment, kind, given)
    file = deployment.master_key if kind == "master" else deployment.service_key
    if not file.exists():
        raise Failed(f"there is no suite in {deployment.folder}: name its folder with FASTCMS_DATA_DIR")
    with closing(DataFolder(deployment.folder)) as folder:
        keys = file.read_text("ascii").split()
        if len(keys) == 1:
            keys.insert(0, base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode())
            # Both are on the disk before anything is sealed under the new one: an interruption costs nothing.
            replace_file(file, "\n".join(keys).encode())
        if deployment.redis_url is not None:
            renewed = _reseal(deployment, deployment.redis_url.get_secret_value(), kind)
        else:
            with private_redis(folder) as server:
                renewed = _reseal(deployment, server.url, kind)
        if forget:
            replace_file(file, keys[0].encode())
    former = "the former one is forgotten" if forget else "the former one is good still: --forget ends that"
    return f"a new {kind} key is in force, {renewed} secrets were sealed anew; {former}"


def _reseal_deployed(deployment: Deployment, kind: str, file: Path) -> str:
    try:
        keys = file.read_text("ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"{file} cannot be read: {error}") from None
    if len(keys) < 2:
        raise Failed(
            f"{file} has one line: write the new key above the old one, restart what reads it, and come again "
            "(deploy/README.md, Secrets)"
        )
    with deployment.redis() as redis_url:
        renewed = _reseal(deployment, redis_url, kind)
    return f"{renewed} secrets were sealed anew: nothing needs the second line of {file} but sessions that are older"


def _reseal(deployment: Deployment, redis_url: str, kind: str) -> int:
    return sum(maintenance.call(deployment, redis_url, module, "reseal")["renewed"] for module in SEALED_WITH[kind])
