"""Mutual TLS between services: who is let in, who is not, and certificates that change while calls are made."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509

from fastcms.auth.v1 import auth_pb2, auth_pb2_grpc
from fastcms_common import probe, reach, serving, tls
from fastcms_common.access import Authenticator
from fastcms_common.channels import open_channel
from fastcms_common.errors import Unavailable
from fastcms_common.multiplex import lanes
from fastcms_common.redis_connection import connect
from fastcms_common.sessions import SessionGuard
from fastcms_common.settings import ProcessSettings
from fastcms_common.tls import Certificate, Tls, tls_of
from fastcms_common.tokens import TokenVerifier
from tests.certificates import Authority, Files
from tests.ports import free_port

AUTHORITY = Authority()


class Accounts(auth_pb2_grpc.AuthServiceServicer):
    """Says which certificate the caller has shown."""

    async def Login(self, request, servicer_context):
        if request.password == "slow":
            await asyncio.sleep(0.3)
        shown = servicer_context.auth_context()["x509_pem_cert"][0]
        return auth_pb2.LoginAnswer(access_token=serial(shown))


def serial(pem: bytes) -> str:
    return str(x509.load_pem_x509_certificate(pem).serial_number)


async def no_keys() -> bytes:
    return b'{"keys": []}'


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def served(files: Files | None, redis_url: str) -> AsyncIterator[str]:
    """A service with this certificate; gives its port."""
    given = files.settings if files is not None else {}
    settings = ProcessSettings(listen=f"127.0.0.1:{free_port()}", leaving_seconds=0, drain_seconds=0, **given)
    redis = connect(redis_url)
    authenticator = Authenticator(TokenVerifier(no_keys, "fastcms"), SessionGuard(redis))
    services = [(auth_pb2_grpc.add_AuthServiceServicer_to_server, Accounts())]
    task = asyncio.create_task(serving.serve(settings, "test", services, authenticator, ready={}))
    try:
        yield settings.listen.rpartition(":")[2]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await redis.aclose()


@asynccontextmanager
async def asking(port: str, files: Files | None, *, multiplex: bool) -> AsyncIterator[Callable]:
    """A call by a client with this certificate; gives the serial number that the service was shown."""
    settings = ProcessSettings(**(files.settings if files is not None else {}))
    shown = tls_of(settings)
    channel = open_channel(f"localhost:{port}", multiplex=multiplex, tls=shown)
    stub = auth_pb2_grpc.AuthServiceStub(channel)

    async def ask(password: str = "x") -> str:
        request = auth_pb2.LoginRequest(email="a@example.com", password=password)
        return (await stub.Login(request, timeout=5)).access_token

    ask.channel, ask.tls = channel.raw, shown  # type: ignore[attr-defined]
    try:
        yield ask
    finally:
        await channel.close()


async def answered(ask: Callable) -> str:
    """The first answer of a service that is starting."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await ask()
            except Unavailable:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("multiplex", [False, True], ids=["plain", "multiplexed"])
async def test_those_who_show_a_certificate_of_the_authority_are_served(tmp_path: Path, redis_url, multiplex):
    service, client = AUTHORITY.write(tmp_path / "service"), AUTHORITY.write(tmp_path / "client")
    async with served(service, redis_url) as port, asking(port, client, multiplex=multiplex) as ask:
        assert await answered(ask) == serial(client.cert.read_bytes())
        if multiplex:
            await until(lambda: ask.channel.streams_up > 0)
            assert await ask() == serial(client.cert.read_bytes())


@pytest.mark.parametrize("multiplex", [False, True], ids=["plain", "multiplexed"])
@pytest.mark.parametrize(
    "client",
    [
        lambda folder: Authority("somebody else").write(folder),
        lambda folder: AUTHORITY.write(folder, expired=True),
        lambda folder: None,
        lambda folder: Files(*Authority().write(folder)[:2], AUTHORITY.write(folder.parent / "good").ca),
    ],
    ids=["wrong authority", "expired", "plaintext", "signed by another, though it believes the right one"],
)
async def test_nobody_else_is(tmp_path: Path, redis_url, monkeypatch, multiplex, client):
    async with served(AUTHORITY.write(tmp_path / "service"), redis_url) as port:
        async with asking(port, AUTHORITY.write(tmp_path / "first"), multiplex=multiplex) as ask:
            await answered(ask)
        async with asking(port, client(tmp_path / "client"), multiplex=multiplex) as ask:
            monkeypatch.setattr(reach, "PATIENCE", 0.5)
            with pytest.raises(Unavailable):
                await ask()


@pytest.mark.parametrize("multiplex", [False, True], ids=["plain", "multiplexed"])
@pytest.mark.parametrize(
    "service",
    [
        lambda folder: Authority("somebody else").write(folder),
        lambda folder: AUTHORITY.write(folder, expired=True),
        lambda folder: AUTHORITY.write(folder, "another-service"),
        lambda folder: None,
    ],
    ids=["wrong authority", "expired", "another's name", "plaintext"],
)
async def test_a_service_that_is_not_who_it_should_be_is_told_nothing(
    tmp_path: Path, redis_url, monkeypatch, multiplex, service
):
    monkeypatch.setattr(reach, "PATIENCE", 0.5)
    files = service(tmp_path / "service")
    believing = AUTHORITY.write(tmp_path / "client")
    async with served(files, redis_url) as port, asking(port, believing, multiplex=multiplex) as ask:
        _, writer = await connected(port)
        writer.close()
        with pytest.raises(Unavailable):
            await ask()


async def connected(port: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the port, once it is listened on."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", int(port))
            except OSError:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("multiplex", [False, True], ids=["plain", "multiplexed"])
async def test_new_certificates_are_used_without_a_restart_and_without_a_lost_call(
    tmp_path: Path, redis_url, multiplex, monkeypatch
):
    monkeypatch.setattr(tls, "LOOK", 0.05)
    monkeypatch.setattr(lanes, "RESOLVE_EVERY", 0.1)
    service, client = AUTHORITY.write(tmp_path / "service"), AUTHORITY.write(tmp_path / "client")
    first = serial(client.cert.read_bytes())
    async with served(service, redis_url) as port, asking(port, client, multiplex=multiplex) as ask:
        assert await answered(ask) == first
        stopped = asyncio.Event()
        shown: list[str] = []

        async def steadily(password: str) -> None:
            while not stopped.is_set():
                shown.append(await ask(password))
                await asyncio.sleep(0.002)

        callers = [asyncio.create_task(steadily(password)) for password in ("x", "x", "slow")]
        AUTHORITY.write(tmp_path / "client")
        second = serial(client.cert.read_bytes())
        await until(lambda: second in shown)
        # As an operator changes the authority: first both are believed by all, then the certificates are the new one's.
        other = Authority("the next one")
        together = AUTHORITY.pem + other.pem
        for files in (service, client):
            files.ca.write_bytes(together)
        await until(lambda: ask.tls.current().authorities == together)
        other.write(tmp_path / "service", believed=together)
        await until(lambda: _shown_by(port) == serial(service.cert.read_bytes()))
        AUTHORITY.write(tmp_path / "client", believed=together)
        third = serial(client.cert.read_bytes())
        await until(lambda: third in shown or any(task.done() for task in callers))
        stopped.set()
        await asyncio.gather(*callers)
        assert {first, second, third} >= set(shown)
        assert third in shown


def _shown_by(port: str) -> str:
    """The serial number of the certificate that the port shows to who connects now."""
    return serial(ssl.get_server_certificate(("127.0.0.1", int(port)), timeout=5).encode())


async def test_what_cannot_be_used_is_not_taken_over(tmp_path: Path):
    files = AUTHORITY.write(tmp_path / "own")
    now = [0.0]
    own = Tls(*files, clock=lambda: now[0])
    before = own.current()
    files.key.write_bytes(AUTHORITY.issue()[1])
    now[0] = 2.0
    assert own.current() is before
    files.cert.unlink()
    now[0] = 4.0
    assert own.current() is before
    AUTHORITY.write(tmp_path / "own")
    now[0] = 6.0
    assert own.current() == Certificate(*(path.read_bytes() for path in files))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda files: {"tls_key_file": None},
        lambda files: {"tls_ca_file": files.ca.parent / "missing"},
        lambda files: {"tls_cert_file": files.key},
        lambda files: {"tls_key_file": AUTHORITY.write(files.ca.parent / "other").key},
    ],
    ids=["no key", "a file that is not there", "no certificate", "another's key"],
)
def test_bad_files_end_a_process_with_one_line(tmp_path: Path, spoil, capsys):
    files = AUTHORITY.write(tmp_path / "own")
    with pytest.raises(SystemExit) as ended:
        tls_of(ProcessSettings(**(files.settings | spoil(files))))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("fastcms: TLS_CERT_FILE, TLS_KEY_FILE, TLS_CA_FILE: ")
    assert said.count("\n") == 1


async def test_the_health_check_of_containers_shows_the_certificate(tmp_path: Path, redis_url, monkeypatch):
    files = AUTHORITY.write(tmp_path / "own", "auth-service")
    async with served(files, redis_url) as port:
        (await connected(port))[1].close()
        assert await asyncio.to_thread(probe.trouble, f"127.0.0.1:{port}/") is not None
        for name, path in zip(("CERT", "KEY", "CA"), files, strict=True):
            monkeypatch.setenv(f"TLS_{name}_FILE", str(path))
        async with asyncio.timeout(10):
            while await asyncio.to_thread(probe.trouble, f"127.0.0.1:{port}"):
                await asyncio.sleep(0.05)
