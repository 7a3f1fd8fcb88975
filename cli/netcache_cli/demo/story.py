"""The demo from beginning to end."""

from __future__ import annotations

import time

from netcache._core.units import format_size
from netcache_cli.demo import reading, writing
from netcache_cli.demo.material import write_random
from netcache_cli.demo.stage import Stage
from netcache_cli.demo.tale import Tale

_NAME = "data.bin"


def tell(size: int) -> int:
    """Play it with an object of `size` bytes; returns the exit code."""
    begun = time.monotonic()
    tale = Tale()
    with Stage(tale) as stage:
        tale.say(f"netcache demo: everything happens in {stage.home} and on 127.0.0.1")
        tale.chapter("Serve a folder")
        digest = write_random(stage.www / _NAME, size)
        tale.say(f"www/{_NAME}: {format_size(size)} of random bytes")
        stage.start_server()
        reading.sparse(stage, _NAME, size)
        reading.mapped(stage, _NAME)
        reading.whole(stage, _NAME, digest)
        writing.put(stage, size // 4)
        writing.sync(stage)
        reading.killed(stage, size // 2)
        reading.changed(stage, _NAME, size // 4)
        reading.offline(stage, _NAME)
        writing.stats(stage)
    tale.check("everything was cleaned up", not stage.home.exists())
    return tale.end(time.monotonic() - begun)
