"""Fixtures of the tests of failures."""

from tests.support.http_fixtures import make_client, rig
from tests.support.resuming import source

__all__ = ["make_client", "rig", "source"]
