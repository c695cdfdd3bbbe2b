"""What tests of members need: an auth-service, and the collections that it knows."""

from __future__ import annotations

from dataclasses import dataclass

from tests.contract.auth.profiles import Collections
from tests.contract.auth.server import AuthServer


@dataclass
class Shop:
    """An auth-service beside a collections-service that has the auth collections customers and vendors."""

    server: AuthServer
    collections: Collections
