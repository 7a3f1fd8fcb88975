"""Fixtures of the tests of failures."""

from tests.support.http_fixtures import make_client, rig

__all__ = ["make_client", "rig"]
