"""What an exerciser needs round it: a server or a memory, a client, the file."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from netcache.backends.memory import MemoryBackend, MemoryServer
from netcache.backends.memory_answers import Answers
from netcache_server import FaultRule
from tests.fsx.exerciser import Exerciser
from tests.fsx.faces import Face, new_face
from tests.fsx.patient import PatientFile, RandomFaults, patiently
from tests.support.served import serve

SERVERS = ("bundled", "bundled-whole", "memory", "memory-whole")
"""Who serves: over HTTP or in memory, taking changes of parts or only the whole."""
MODES = ("through", "back")
_NO_PARTS = FaultRule(
    method=("OPTIONS",), remove_headers=("Accept-Patch", "DAV", "X-Accept-Partial-Put")
)
_URL = "http://memory.invalid/data"


class Kind(NamedTuple):
    """Which way the file is edited; ``faults`` is the probability that a request fails (memory)."""

    server: str
    mode: str
    use_cache: bool
    face: str = "sync"
    watch: str = ""
    faults: float = 0.0

    def __str__(self) -> str:
        cache = "cache" if self.use_cache else "no-cache"
        faults = "faults" if self.faults else ""
        words = (self.server, self.mode, cache, self.face, self.watch, faults)
        return "-".join(filter(None, words))


@contextlib.contextmanager
def exerciser(
    folder: Path, kind: Kind, *, size: int, seed: int = 0, answers: Answers | None = None
) -> Iterator[Exerciser]:
    """An exerciser of a file of ``size`` bytes; the client is closed afterwards, and has nothing
    left alive.  ``answers`` are orders to a server in memory."""
    first = random.Random(seed).randbytes(size)
    if kind.server.startswith("memory"):
        memory = MemoryServer(updates=kind.server == "memory")
        memory.store(_URL, first)
        if answers is None and kind.faults:
            answers = RandomFaults(seed, kind.faults)
        memory.answers = answers or memory.answers
        backend = MemoryBackend(memory)
        face = _face(folder, kind, backend=lambda: backend)

        def at_server() -> bytes:
            return memory.files[_URL].data

        with _exercised(face, kind, _URL, first, at_server, doubts=answers is not None) as made:
            yield made
        return
    with serve(folder / "www") as served:
        served.server.set_faults([_NO_PARTS] if kind.server == "bundled-whole" else [])
        url = served.put("data", first)
        face = _face(folder, kind)
        with _exercised(face, kind, url, first, (served.root / "data").read_bytes) as made:
            yield made


def _face(folder: Path, kind: Kind, **options: object) -> Face:
    return new_face(
        kind.face,
        cache_dir=folder / "cache",
        write_mode=kind.mode,
        use_cache=kind.use_cache,
        readahead=0,
        retries=0,
        **options,
    )


@contextlib.contextmanager
def _exercised(
    face: Face,
    kind: Kind,
    url: str,
    first: bytes,
    at_server: Callable[[], bytes],
    *,
    doubts: bool = False,
) -> Iterator[Exerciser]:
    def writer() -> PatientFile:
        return PatientFile(patiently(lambda: face.open(url, "r+b")), writes=True, doubts=doubts)

    def reader() -> PatientFile:
        return PatientFile(patiently(lambda: face.open(url)), writes=False)

    try:
        made = Exerciser(
            first,
            writer,
            reader,
            at_server,
            lambda: face.drop(url),
            kind.watch,
        )
        try:
            yield made
        except BaseException:
            made.abandon()
            raise
        left = set(face.stats()["Objs"].values())
        assert left == {0}, face.stats()["Objs"]
    finally:
        face.close()
