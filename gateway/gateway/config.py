"""The settings of the gateway, beside those that every process has."""

from __future__ import annotations

from functools import cached_property

from pydantic import Field, field_validator

from fastcms_common.settings import ProcessSettings
from gateway.addresses import Network, network_of


class Settings(ProcessSettings):
    """From the environment. Lists are comma-separated. Sizes in bytes, times in seconds."""

    # A listening socket that was passed on to this process, used in place of `listen`. The run command holds it open,
    # so that callers wait in its queue while the gateway is started again.
    listen_fd: int | None = Field(None, ge=3)
    gateway_workers: int = Field(1, ge=1, le=64)
    # Networks or addresses of the proxies whose X-Forwarded-For is believed.
    trusted_proxies: str = ""
    # Origins whose pages may call the API from a browser; * for all.
    cors_origins: str = ""
    max_body_bytes: int = Field(1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    # Request line and headers together.
    max_header_bytes: int = Field(32 * 1024, ge=4096, le=1024 * 1024)
    # How long a connection may stay open without a request.
    keep_alive_seconds: int = Field(75, ge=1, le=3600)
    # How long a call to a service may take.
    call_seconds: float = Field(10.0, gt=0, le=300)
    access_log: bool = True
    # In force until the settings `rate_limits` say otherwise.
    rate_limits_enabled: bool = True
    rate_limit_credentials_per_minute: int = Field(10, ge=1, le=1_000_000)
    rate_limit_requests_per_minute: int = Field(600, ge=1, le=10_000_000)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        for item in _items(value):
            network_of(item)
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for item in _items(value):
            scheme, _, host = item.partition("://")
            if item != "*" and (scheme not in ("http", "https") or not host or "/" in host.rstrip("/")):
                raise ValueError(f"{item} is not an origin such as https://example.com")
        return value

    @cached_property
    def proxies(self) -> list[Network]:
        """The trusted networks."""
        return [network_of(item) for item in _items(self.trusted_proxies)]

    @cached_property
    def origins(self) -> list[str]:
        """The origins let through by CORS."""
        return _items(self.cors_origins)


def _items(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]
