"""Fixtures of the unit tests that several modules use."""

from tests.support.queues import arena
from tests.support.sharing import cache, workers

__all__ = ["arena", "cache", "workers"]
