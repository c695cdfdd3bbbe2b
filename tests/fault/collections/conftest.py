"""A running collections-service for each test, on each engine in turn."""

from tests.contract.collections.conftest import server

__all__ = ["server"]
