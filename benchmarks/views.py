"""Views of cached bytes against slices of a map: what the fast path costs above the slice."""

from __future__ import annotations

import mmap
import os
import random
from collections.abc import Callable

import netcache
from benchmarks.contest import Score, contest
from benchmarks.rig import Rig, timed

VIEWS = 200_000
VIEW_BYTES = 4096


def warm_view(rig: Rig, rounds: int) -> list[Score]:
    """Random 4 KiB views of a cached file, and looks at a shared one, against ``mmap`` slices."""
    picks = random.Random(3)
    offsets = [picks.randrange(rig.size - VIEW_BYTES) for _ in range(VIEWS)]
    plain = os.open(rig.big, os.O_RDONLY)
    try:
        base = memoryview(mmap.mmap(plain, 0, prot=mmap.PROT_READ))
    finally:
        os.close(plain)
    url = rig.url + "big.bin"
    with netcache.Client(cache_dir=rig.scratch / "cache", validate="never") as client:
        client.warm(url)
        with client.open(url) as file, client.share(url) as shared:
            file.view(0, 1)
            assert shared.read(0, 1).generation

            def slices() -> float:
                with timed() as seconds:
                    for offset in offsets:
                        base[offset : offset + VIEW_BYTES]
                return seconds() / VIEWS

            def views() -> float:
                view = file.view
                with timed() as seconds:
                    for offset in offsets:
                        view(offset, VIEW_BYTES)
                return seconds() / VIEWS

            def looks() -> float:
                read = shared.read
                with timed() as seconds:
                    for offset in offsets:
                        read(offset, VIEW_BYTES)
                return seconds() / VIEWS

            def checked_looks() -> float:
                read = shared.read
                with timed() as seconds:
                    for offset in offsets:
                        with read(offset, VIEW_BYTES) as (_, view):
                            view  # noqa: B018 - what is measured is the frame around a use
                return seconds() / VIEWS

            rows: list[tuple[str, Callable[[], float], float]] = [
                ("`view()` of 4 KiB", views, 2.0),
                ("look at 4 KiB, shared", looks, 15.0),
                ("look at 4 KiB, shared, checked", checked_looks, 25.0),
            ]
            return [
                contest(
                    row,
                    ("mmap slice", slices),
                    {"netcache": ours},
                    rounds=rounds,
                    reach=reach,
                )
                for row, ours, reach in rows
            ]
