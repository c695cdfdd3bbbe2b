"""A MongoDB server for tests: a real one where there is one, else the best stand-in at hand.

In this order: `MONGODB_URL`; a `mongo` container, where a Docker engine runs and has the image; `mongod` on the path;
FerretDB on SQLite, built once into `.build/` where Go is at hand (`tests/ferretdb/`); the PyPI package nx-27017. The
header of the test run says which. What a stand-in cannot do is written down in its `Kind`, for that server only: tests
that need it run on mongo-java-server, where Java and Maven are at hand (`tests/mongo_java/`), or are skipped with that
reason if that cannot do it either. The engine knows nothing of it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import docker
import pymongo
from docker.errors import DockerException, NotFound

from fastcms_cli.ports import LOOPBACK, listen
from fastcms_cli.processes import dies_with
from tests.suite import wait_until

ROOT = Path(__file__).parents[1]
FERRETDB = ROOT / "tests" / "ferretdb"
MONGO_JAVA = ROOT / "tests" / "mongo_java"
START_WITHIN = 60.0

PARTIAL_INDEX = "partial indexes"
PARTIAL_INDEX_OF_SEVERAL = "partial indexes over several paths"
COMPUTED_SORT = "sorting by computed keys"
FIELD_AGAINST_FIELD = "comparing two fields"
ALL_OF_AN_ARRAY = "conditions that all elements of an array must meet"
NESTED_ARRAYS = "arrays within arrays"
ONE_WINNER = "conditional changes that only one of several callers makes"
UNIQUE_ON_UPDATE = "naming the index that an update or a new index breaks"
UNIQUE_NAMES = "naming an index that the store does not know"
ATOMIC_CHANGES = "finding and changing a document in one step"
AS_CHANGED = "answering with the document as the change has left it"
PLANS = "saying which index serves a query"
ODD_KEYS = "keys with quotes, backslashes, blanks or control characters"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of server. `gaps` are things it cannot do, with the reason; `refusals` match the errors by which it says
    so itself; `unusable` says why the storage engine as a whole cannot run on it."""

    name: str
    gaps: Mapping[str, str] = field(default_factory=dict)
    unusable: str | None = None
    refusals: tuple[str, ...] = ()

    def refuses(self, error: BaseException) -> bool:
        """Whether the error is the server's own word that it cannot do such a thing."""
        return any(re.search(refusal, str(error)) for refusal in self.refusals)


MONGODB = Kind("MongoDB")
FERRETDB_1 = Kind(
    "FerretDB 1.24 on SQLite",
    gaps={
        PARTIAL_INDEX: "createIndexes: partialFilterExpression is not implemented",
        PARTIAL_INDEX_OF_SEVERAL: "createIndexes: partialFilterExpression is not implemented",
        COMPUTED_SORT: "aggregation knows no $cond, $isArray, $ifNull",
        FIELD_AGAINST_FIELD: "$expr knows no comparison",
        ALL_OF_AN_ARRAY: "$elemMatch knows no $ne and no $not",
        NESTED_ARRAYS: "documents with arrays within arrays are refused",
        ONE_WINNER: "findAndModify reads and writes in two steps: of 40 at once that want v = 0, a dozen win",
        UNIQUE_ON_UPDATE: "only an insert that breaks a unique index is answered with the error code for it",
        UNIQUE_NAMES: "a duplicate key error does not name the index",
        ATOMIC_CHANGES: "findAndModify reads, and then writes: parallel changes of one document overwrite each other",
        AS_CHANGED: "the same",
        PLANS: "explain tells the plan of SQLite below it, which scans whatever is asked",
        ODD_KEYS: "its own JSON breaks on quotes and backslashes in keys, its paths on blanks",
    },
    refusals=("not implemented", "not supported", "path element must not"),
)
MONGO_JAVA_SERVER = Kind(
    "mongo-java-server 1.47",
    gaps={
        PARTIAL_INDEX_OF_SEVERAL: "an index over several paths holds documents that its condition leaves out",
        COMPUTED_SORT: "aggregation knows no $switch and no $type",
        FIELD_AGAINST_FIELD: "aggregation knows no $switch",
        AS_CHANGED: "findAndModify answers with what others have made of the document since",
        PLANS: "explain is not known",
    },
)
NX_27017 = Kind(
    "nx-27017",
    unusable="every insert fails under an index that ends in _id; $not is unknown; duplicate keys are not told as such",
)


class Process(Protocol):
    """What is asked of a running server, be it a process or a container."""

    def kill(self) -> object: ...
    def terminate(self) -> object: ...
    def wait(self, timeout: float | None = None) -> object: ...


class MongoServer:
    """A running server. `kill` and `start` let a test take it away and bring it back with its data, where `owned`."""

    def __init__(self, kind: Kind, url: str, run: Callable[[], Process] | None = None) -> None:
        self.kind = kind
        self.url = url
        self._run = run
        self._process: Process | None = None
        self._bases: list[str] = []
        if run is not None:
            self.start()

    @property
    def owned(self) -> bool:
        """Whether this is a process of the test run's own."""
        return self._run is not None

    def new_base(self) -> str:
        """A prefix for names of databases that nobody else has."""
        self._bases.append(f"t{uuid.uuid4().hex[:12]}")
        return self._bases[-1]

    def start(self) -> None:
        """Start it, and return when it answers."""
        assert self._run is not None
        self._process = self._run()
        wait_until(self.answers, f"{self.kind.name} answers", within=START_WITHIN)

    def answers(self) -> bool:
        """Whether it answers a ping."""
        client: pymongo.MongoClient[dict[str, Any]]
        with pymongo.MongoClient(self.url, serverSelectionTimeoutMS=500) as client:
            try:
                return bool(client.admin.command("ping"))
            except pymongo.errors.PyMongoError:
                return False

    def kill(self) -> None:
        """End it at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it. One that others use too is left without what the tests have made."""
        if self._process is None:
            self._drop_databases()
        else:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def _drop_databases(self) -> None:
        client: pymongo.MongoClient[dict[str, Any]]
        with pymongo.MongoClient(self.url, serverSelectionTimeoutMS=5000) as client:
            for name in client.list_database_names():
                if name.startswith(tuple(f"{base}_" for base in self._bases)):
                    client.drop_database(name)


@cache
def choose() -> str:
    """Which server it will be: `url`, `docker`, `mongod`, `ferretdb` or `nx-27017`."""
    if os.environ.get("MONGODB_URL"):
        return "url"
    if _image() is not None:
        return "docker"
    if shutil.which("mongod"):
        return "mongod"
    return "ferretdb" if shutil.which("go") and _ferretdb() is not None else "nx-27017"


def describe() -> str:
    """A line for the header of the test run."""
    other = f", {MONGO_JAVA_SERVER.name} for what it cannot do" if _has_java() else ""
    return {
        "url": "the server at MONGODB_URL",
        "docker": f"MongoDB, container of the image {_image()}",
        "mongod": f"MongoDB, {shutil.which('mongod')}",
        "ferretdb": f"FerretDB 1.24 on SQLite, built by Go (a stand-in){other}",
        "nx-27017": "nx-27017 of PyPI (a stand-in)",
    }[choose()]


def start_server(home: Path) -> MongoServer:
    """The server of the session; its data under `home` where it is a process of ours."""
    choice = choose()
    if choice == "url":
        return MongoServer(_kind_at(os.environ["MONGODB_URL"]), os.environ["MONGODB_URL"])
    port = _free_port()
    if choice == "docker":
        container = _Container(port)
        return MongoServer(MONGODB, f"mongodb://{LOOPBACK}:{port}", container.run)
    commands: dict[str, list[str | Path | None]] = {
        "mongod": ["mongod", "--dbpath", home, "--bind_ip", LOOPBACK, "--port", str(port)],
        "ferretdb": [_ferretdb() if choice == "ferretdb" else None, "-listen", f"{LOOPBACK}:{port}", "-data", home],
        "nx-27017": [Path(sys.executable).with_name("nx-27017"), "--data-dir", home, "--port", str(port)],
    }
    kind = {"ferretdb": FERRETDB_1, "nx-27017": NX_27017}.get(choice, MONGODB)
    return _process(kind, port, commands[choice], home)


def start_other(home: Path) -> MongoServer | None:
    """Another stand-in, which can do things that the server of the session cannot; None where there is none."""
    classes = _mongo_java() if _has_java() else None
    if classes is None:
        return None
    port = _free_port()
    # Of the compiler the first level only, for it does not run long enough for the second.
    java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{classes}/*:{classes}"]
    return _process(MONGO_JAVA_SERVER, port, [*java, "Server", str(port)], home)


def _free_port() -> int:
    with listen(LOOPBACK, 0) as listener:
        port: int = listener.getsockname()[1]
    return port


def _process(kind: Kind, port: int, command: Sequence[str | Path | None], home: Path) -> MongoServer:
    log = home / "server.log"

    def run() -> Process:
        with log.open("ab") as out:
            return subprocess.Popen(
                [str(word) for word in command],
                cwd=home,
                stdout=out,
                stderr=out,
                preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509 see there
            )

    return MongoServer(kind, f"mongodb://{LOOPBACK}:{port}", run)


class _Container:
    """A container as a Process. Killed and run again it has its data still; terminated it is gone."""

    def __init__(self, port: int) -> None:
        self._client = docker.from_env()
        ports = {"27017/tcp": (LOOPBACK, port)}
        self._container = self._client.containers.create(_image(), detach=True, ports=ports)

    def run(self) -> Process:
        self._container.start()
        return self

    def kill(self) -> None:
        self._container.kill()

    def terminate(self) -> None:
        self._container.remove(force=True, v=True)
        self._client.close()

    def wait(self, timeout: float | None = None) -> None:
        try:
            self._container.wait(timeout=timeout, condition="not-running")
        except NotFound:
            return


@cache
def _image() -> str | None:
    """A `mongo` image that is here already; nothing is pulled."""
    if not _engine_listens():
        return None
    try:
        with closing(docker.from_env(timeout=3)) as client:
            tags = [tag for image in client.images.list("mongo") for tag in image.tags]
    except (DockerException, OSError):
        return None
    return max(tags, default=None)


def _engine_listens() -> bool:
    """Whether a Docker engine may be there. The SDK leaks a socket where none is, so it is asked only then."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not host.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(host.removeprefix("unix://")) == 0


@cache
def _ferretdb() -> Path | None:
    """The built binary, built now if need be; None where that fails."""

    def build(target: Path) -> bool:
        environment = {**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
        return _done(["go", "build", "-o", target, "."], cwd=FERRETDB, env=environment)

    return _built("ferretdb", [FERRETDB / name for name in ("go.mod", "go.sum", "main.go")], build)


def _has_java() -> bool:
    return all(shutil.which(tool) for tool in ("mvn", "javac", "java"))


@cache
def _mongo_java() -> Path | None:
    """The folder of its jars and of the class that starts it, made now if need be; None where that fails."""
    pom, source = MONGO_JAVA / "pom.xml", MONGO_JAVA / "Server.java"

    def build(target: Path) -> bool:
        fetch = ["mvn", "-q", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={target}"]
        return _done(fetch) and _done(["javac", "-cp", f"{target}/*", "-d", target, source])

    return _built("mongo-java", [pom, source], build)


def _built(name: str, sources: Sequence[Path], build: Callable[[Path], bool]) -> Path | None:
    """What `build` makes of the sources, which is kept until they change."""
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    made = ROOT / ".build" / f"{name}-{digest}"
    if not made.exists():
        made.parent.mkdir(exist_ok=True)
        unfinished = made.with_suffix(f".{os.getpid()}")
        if not build(unfinished):
            return None
        # Another process of the run may have been quicker.
        with suppress(OSError):
            unfinished.replace(made)
    return made


def _done(command: Sequence[str | Path], **options: Any) -> bool:
    return subprocess.run(command, capture_output=True, **options).returncode == 0


def _kind_at(url: str) -> Kind:
    client: pymongo.MongoClient[dict[str, Any]]
    with pymongo.MongoClient(url, serverSelectionTimeoutMS=5000) as client:
        return FERRETDB_1 if "ferretdbVersion" in client.admin.command("buildInfo") else MONGODB
