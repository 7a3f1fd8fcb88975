"""What the tests of updates of parts over HTTP share."""

from __future__ import annotations

import asyncio

from netcache.spi import UploadCondition
from tests.conformance.peers import pattern
from tests.support.http_rig import MIB
from tests.support.proxy import Scripted, Seen, answer

NEW = pattern(2 * MIB, seed=5)
ETAG = UploadCondition(if_match='"v1"')
PATCH_TYPE = "application/x-sabredav-partialupdate"


def methods(server: Scripted) -> list[str]:
    """What a scripted server was asked."""
    return [seen.method for seen in server.seen]


def answers_questions(seen: Seen, writer: asyncio.StreamWriter) -> bool:
    """Answer what is asked before an update of a part: it takes one, and has version 1."""
    match seen.method:
        case "OPTIONS":
            writer.write(answer(200, Accept_Patch=PATCH_TYPE))
        case "HEAD":
            writer.write(answer(200, ETag='"v1"'))
        case _:
            return False
    return True
