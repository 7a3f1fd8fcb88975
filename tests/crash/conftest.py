"""Fixtures of the tests of processes that die."""

from tests.support.sharing import cache

__all__ = ["cache"]
