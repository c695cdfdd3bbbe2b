"""Where a suite keeps what it has, for the commands that look after one: running or stopped, bare or deployed.

The environment says it, with the names that the processes themselves read (`NAME_FILE` for the file that holds the
value, too). What it does not say is where `fastcms run` would have it: in the data folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict
from redis import Redis
from redis.exceptions import RedisError

from fastcms_cli.config import BadStart
from fastcms_cli.data_folder import DataFolder
from fastcms_cli.ports import free_ports
from fastcms_cli.processes import dies_with
from fastcms_cli.redis_server import RedisServer
from fastcms_cli.suite import SERVICES
from fastcms_common.settings import EnvironmentSettings

DATABASES = tuple(member.stores for member in SERVICES if member.stores)
"""The databases of a suite, by the name that STORAGE_URL is completed with."""

REDIS_STARTS_WITHIN = 30.0


class Failed(Exception):
    """A command cannot do what it was asked: one line for a person."""


class Deployment(EnvironmentSettings):
    """What the environment says of a suite."""

    model_config = SettingsConfigDict(hide_input_in_errors=True)

    fastcms_data_dir: Path = Path(".data")
    storage_url: SecretStr | None = None
    storage_url_auth: SecretStr | None = None
    storage_url_collections: SecretStr | None = None
    storage_url_admin: SecretStr | None = None
    storage_url_scheduler: SecretStr | None = None
    redis_url: SecretStr | None = None
    master_key_file: Path | None = None
    service_key_file: Path | None = None
    app_url: str | None = Field(None, pattern=r"^https?://[^/\s]+")

    @field_validator("storage_url", "storage_url_auth", "storage_url_collections", "storage_url_admin",
                     "storage_url_scheduler")  # fmt: skip
    @classmethod
    def _is_storage(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("sqlite:", "mongodb://", "mongodb+srv://")):
            raise ValueError("must start with sqlite: or mongodb://")
        return value

    @property
    def folder(self) -> Path:
        """The data folder of `fastcms run`."""
        return self.fastcms_data_dir.expanduser().absolute()

    def storage_urls(self) -> dict[str, str]:
        """By database: the STORAGE_URL of the service that owns it."""
        urls = {}
        for name in DATABASES:
            own: SecretStr | None = getattr(self, f"storage_url_{name}") or self.storage_url
            urls[name] = own.get_secret_value() if own else f"sqlite://{quote(str(self.folder))}/{name}.db"
        return urls

    @property
    def master_key(self) -> Path:
        return self.master_key_file or self.folder / "secrets" / "master.key"

    @property
    def service_key(self) -> Path:
        return self.service_key_file or self.folder / "secrets" / "service.key"

    @property
    def base_url(self) -> str:
        """Where the suite's API is reached: APP_URL, else what a run in the data folder says, else the usual place."""
        run = self.run_info()
        return (self.app_url or run.get("base_url") or "http://127.0.0.1:8000").rstrip("/")

    def run_info(self) -> dict[str, Any]:
        """What `run.json` says of a run that is under way in the data folder; empty where there is none."""
        try:
            content: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
            os.kill(content["pid"], 0)
        except (OSError, ValueError, KeyError):
            # A run that was killed leaves its file behind.
            return {}
        return content

    @contextmanager
    def redis(self) -> Iterator[str]:
        """The URL of the suite's Redis. The private one of a bare run that is stopped is started for this while, with
        the data folder held, so that the run cannot start beside it. Raises Failed, BadStart."""
        given = self.redis_url.get_secret_value() if self.redis_url else self.run_info().get("redis_url")
        if given:
            yield given
            return
        if not (self.folder / "secrets" / "redis.key").exists():
            raise Failed(f"there is no suite in {self.folder}: name its folder with FASTCMS_DATA_DIR, or set REDIS_URL")
        folder = DataFolder(self.folder)
        with closing(folder), private_redis(folder) as server:
            yield server.url


@contextmanager
def private_redis(folder: DataFolder) -> Iterator[RedisServer]:
    """The private Redis of a data folder that the caller holds, running while the block does. Raises BadStart."""
    server = RedisServer(folder, next(free_ports(0)))
    process = subprocess.Popen(
        server.command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509 see there
    )
    try:
        _wait_for(server.url)
        yield server
    finally:
        # It writes what is left of its log to the disk first.
        process.terminate()
        process.wait()


def _wait_for(url: str) -> None:
    give_up = time.monotonic() + REDIS_STARTS_WITHIN
    with Redis.from_url(url) as client:
        while time.monotonic() < give_up:
            try:
                client.ping()
            except RedisError:
                time.sleep(0.02)
            else:
                return
    raise BadStart(f"the Redis of the data folder did not start within {REDIS_STARTS_WITHIN:g} s")
