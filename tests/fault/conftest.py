"""Fixtures of the tests of failures."""

from tests.support.http_fixtures import both_ways, make_client, rig
from tests.support.resuming import source

__all__ = ["both_ways", "make_client", "rig", "source"]
