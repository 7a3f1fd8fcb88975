"""What the tests of updates of parts over HTTP share."""

from __future__ import annotations

from netcache.spi import UploadCondition
from tests.conformance.peers import pattern
from tests.support.http_rig import MIB
from tests.support.proxy import Scripted

NEW = pattern(2 * MIB, seed=5)
ETAG = UploadCondition(if_match='"v1"')
PATCH_TYPE = "application/x-sabredav-partialupdate"


def methods(server: Scripted) -> list[str]:
    """What a scripted server was asked."""
    return [seen.method for seen in server.seen]
