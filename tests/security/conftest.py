"""Fixtures of the tests of security."""

from tests.support.http_fixtures import make_client

__all__ = ["make_client"]
