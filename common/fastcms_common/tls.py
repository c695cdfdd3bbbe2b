"""Mutual TLS between the processes of the suite: both sides show a certificate of the same authority.

The files are read again when they change (a Kubernetes Secret, cert-manager, a job that renews): connections that are
made from then on use what they say now, those that are there go on. What cannot be used (a key that is not the
certificate's, half a file) is not taken over, and said in the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

import grpc
import grpc.aio
from prometheus_client import Gauge

from fastcms_common.logs import get_logger
from fastcms_common.settings import ProcessSettings, stop

# Seconds between two looks at the files, and for which calls on a connection of before may still be under way.
LOOK = 1.0
_OUTLIVES = 600.0

_expires = Gauge(
    "fastcms_tls_expiry_timestamp_seconds",
    "When this process's certificate ends; 0 without TLS.",
    multiprocess_mode="livemin",
)

log = get_logger(__name__)


class Certificate(NamedTuple):
    """What a process shows (certificate chain and its key) and whom it believes (authorities), all of it PEM."""

    chain: bytes
    key: bytes
    authorities: bytes

    @classmethod
    def read(cls, chain: Path, key: Path, authorities: Path) -> Certificate:
        """Raises OSError where a file cannot be read, ValueError where what they say does not go together."""
        read = cls(chain.read_bytes(), key.read_bytes(), authorities.read_bytes())
        read.check()
        return read

    def check(self) -> None:
        """Raises ValueError where these are no certificates, or the key is not the certificate's."""
        # Only a process that has TLS pays for it.
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        own = x509.load_pem_x509_certificate(self.chain)
        x509.load_pem_x509_certificates(self.authorities)
        if load_pem_private_key(self.key, None).public_key() != own.public_key():
            raise ValueError("the key is not that of the certificate")

    def expires(self) -> float:
        """When the certificate ends, Unix seconds."""
        from cryptography import x509

        return x509.load_pem_x509_certificate(self.chain).not_valid_after_utc.timestamp()

    def name(self) -> str | None:
        """The first DNS name in it, by which the process can be asked for."""
        from cryptography import x509

        own = x509.load_pem_x509_certificate(self.chain)
        try:
            names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return None
        return next(iter(names.get_values_for_type(x509.DNSName)), None)


class Tls:
    """The certificate of this process, as its files have it now. Raises OSError or ValueError where they are bad."""

    def __init__(self, chain: Path, key: Path, authorities: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = (chain, key, authorities)
        self._clock = clock
        self._looked = clock()
        self._state = self._state_of_files()
        self._certificate = Certificate.read(*self._files)
        _expires.set(self._certificate.expires())

    def current(self) -> Certificate:
        """The newest certificate that can be used; the same object for as long as it is the same. Never raises."""
        now = self._clock()
        if now - self._looked >= LOOK:
            self._looked = now
            try:
                self._refresh()
            except (OSError, ValueError) as error:
                log.error("certificate not taken over", error=str(error))
        return self._certificate

    def server_credentials(self) -> grpc.ServerCredentials:
        """For a port on which clients have to show a certificate of the authorities'."""
        shown = self.current()

        def newest() -> Any:
            # Asked before each handshake, from a thread of gRPC's.
            nonlocal shown
            found = self.current()
            if found is shown:
                return None
            shown = found
            return _as_server(found)

        return grpc.dynamic_ssl_server_credentials(_as_server(shown), newest, require_client_authentication=True)

    def _refresh(self) -> None:
        state = self._state_of_files()
        if state == self._state:
            return
        found = Certificate.read(*self._files)
        self._state = state
        if found == self._certificate:
            # Written again, and the same: no reason to connect anew.
            return
        self._certificate = found
        _expires.set(self._certificate.expires())
        log.info("certificate taken over")

    def _state_of_files(self) -> tuple[tuple[int, int, int], ...]:
        found = [path.stat() for path in self._files]
        return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)


def _as_server(certificate: Certificate) -> Any:
    chains = [(certificate.key, certificate.chain)]
    return grpc.ssl_server_certificate_configuration(chains, root_certificates=certificate.authorities)


def tls_of(settings: ProcessSettings) -> Tls | None:
    """The TLS that a process is told to use; None for none. Ends it with one line where the files are bad."""
    chain, key, authorities = settings.tls_cert_file, settings.tls_key_file, settings.tls_ca_file
    if chain is None and key is None and authorities is None:
        return None
    if chain is None or key is None or authorities is None:
        stop("TLS_CERT_FILE, TLS_KEY_FILE, TLS_CA_FILE: are needed together")
    services = (settings.auth_service, settings.collections_service, settings.admin_service, settings.scheduler_service)
    if any("," in service for service in services):
        stop("TLS_CERT_FILE: services are known by their names, not by several addresses")
    try:
        return Tls(chain, key, authorities)
    except (OSError, ValueError) as error:
        stop(f"TLS_CERT_FILE, TLS_KEY_FILE, TLS_CA_FILE: {error}")


OpenWith = Callable[[Certificate], grpc.aio.Channel]


class RenewedChannel(grpc.aio.Channel):
    """A channel whose calls are made with the newest certificate. Those under way end as they began."""

    def __init__(self, tls: Tls, open_with: OpenWith) -> None:
        self._tls = tls
        self._open_with = open_with
        self._certificate = tls.current()
        self._newest = open_with(self._certificate)
        self._before: set[grpc.aio.Channel] = set()

    def newest(self) -> grpc.aio.Channel:
        """The channel beneath, for a call that is made now."""
        certificate = self._tls.current()
        if certificate is not self._certificate:
            # A channel that nobody holds any more closes itself.
            self._before.add(self._newest)
            asyncio.get_running_loop().call_later(_OUTLIVES, self._before.discard, self._newest)
            self._newest, self._certificate = self._open_with(certificate), certificate
        return self._newest

    def unary_unary(self, *method: Any, **registered: Any) -> Any:
        return _Rpc(self, "unary_unary", method, registered)

    def unary_stream(self, *method: Any, **registered: Any) -> Any:
        return _Rpc(self, "unary_stream", method, registered)

    def stream_unary(self, *method: Any, **registered: Any) -> Any:
        return _Rpc(self, "stream_unary", method, registered)

    def stream_stream(self, *method: Any, **registered: Any) -> Any:
        return _Rpc(self, "stream_stream", method, registered)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self.newest().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._newest.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self.newest().channel_ready()

    async def close(self, grace: float | None = None) -> None:
        for channel in (self._newest, *self._before):
            await channel.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()


class _Rpc:
    """One rpc of a stub, which follows the channel to its newest connection."""

    def __init__(self, channel: RenewedChannel, kind: str, method: tuple[Any, ...], registered: dict[str, Any]) -> None:
        self._channel = channel
        self._kind = kind
        self._method = method
        self._registered = registered
        self._beneath: grpc.aio.Channel | None = None
        self._rpc: Any = None

    def __call__(self, *request: Any, **options: Any) -> Any:
        beneath = self._channel.newest()
        if beneath is not self._beneath:
            self._rpc = getattr(beneath, self._kind)(*self._method, **self._registered)
            self._beneath = beneath
        return self._rpc(*request, **options)
