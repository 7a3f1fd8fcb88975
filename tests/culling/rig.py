"""The soak of culling: processes on one cache with a limit, which never exceeds it.

``python -m tests.culling --ops 1000000 --processes 4 --seed 1``.  The cache is measured again
and again, each time with all processes stopped, so that the sum is one of a single moment.  Some
are killed and replaced.  Prints the most that was measured; exits 1 if anything was wrong.
"""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from netcache._cachefiles.store import CachefilesStore, bind
from netcache._core.usage_record import HEAD_BYTES, Head
from netcache.errors import CacheError
from tests.culling.worker import STEP
from tests.support.damage import stray_tables
from tests.support.stores import allocated

ROOT = Path(__file__).parents[2]
LIMIT_BYTES = 8 << 20
_PAUSE_S = 0.01


class Outcome(NamedTuple):
    """How it went: ``most`` is the most that was measured, ``told`` what the workers said."""

    ops: int
    samples: int
    most: int
    kills: int
    faults: list[str]
    told: list[str]


class _Worker:
    """A process, and how many operations it has done."""

    def __init__(self, directory: Path, seed: str, ops: int, limit: int) -> None:
        words = [str(directory), "--ops", str(ops), "--seed", seed, "--limit", str(limit)]
        self.seed = seed
        self.wanted = ops
        self.done = 0
        self.last = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.culling.worker", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.pipe = self.process.stdout.fileno()
        self._rest = b""

    def hear(self) -> bool:
        """Take what it has said; False at the end."""
        text = os.read(self.pipe, 1 << 16)
        *lines, self._rest = (self._rest + text).split(b"\n")
        for line in lines:
            if line.isdigit():
                self.done = int(line)
            else:
                self.last = line.decode()
        return bool(text)

    def stop(self) -> bool:
        """Stop it, and wait until it stands still; False when it has ended instead."""
        os.kill(self.process.pid, signal.SIGSTOP)
        found = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return found is not None and found.si_code == os.CLD_STOPPED

    def go_on(self) -> None:
        """Undo ``stop``."""
        os.kill(self.process.pid, signal.SIGCONT)

    def end(self, *, kill: bool) -> str:
        """Wait for its end; returns what it had to complain of."""
        if kill:
            self.process.kill()
        _, errors = self.process.communicate()
        expected = -signal.SIGKILL if kill else 0
        if self.process.returncode == expected:
            return ""
        return f"worker {self.seed} ended with {self.process.returncode}: {errors.decode()}"


def soak(
    directory: Path,
    *,
    ops: int,
    seconds: float = float("inf"),
    processes: int = 4,
    seed: int = 1,
    limit: int = LIMIT_BYTES,
    kill_every: int = 0,
) -> Outcome:
    """Run until ``ops`` operations are done, or for so long; a kill each ``kill_every`` of them."""
    until = time.monotonic() + seconds
    chance = random.Random(seed)
    workers = [
        _Worker(directory, f"{seed} {number}", ops // processes, limit)
        for number in range(processes)
    ]
    done = samples = most = kills = 0
    faults: list[str] = []
    told: list[str] = []
    try:
        while workers:
            size, ended = _measure(directory, workers)
            samples, most = samples + 1, max(most, size)
            if size > limit:
                faults.append(f"{size} bytes of {limit} after {done} operations")
            for worker in ended:
                workers.remove(worker)
                faults += filter(None, [worker.end(kill=False)])
                done += worker.done
                told.append(worker.last)
            if faults or time.monotonic() >= until:
                break
            running = sum(worker.done for worker in workers)
            if kill_every and workers and (done + running) // kill_every > kills:
                kills += 1
                victim = workers.pop(chance.randrange(len(workers)))
                faults += filter(None, [victim.end(kill=True)])
                done += victim.done
                left = max(STEP, victim.wanted - victim.done)
                workers.append(_Worker(directory, f"{seed} kill {kills}", left, limit))
    finally:
        for worker in workers:
            worker.end(kill=True)
            done += worker.done
    faults += _at_rest(directory, limit)
    return Outcome(done, samples, most, kills, faults, told)


def _measure(directory: Path, workers: list[_Worker]) -> tuple[int, list[_Worker]]:
    """What the cache takes at one moment, and the workers that have ended."""
    ready, _, _ = select.select([worker.pipe for worker in workers], [], [], _PAUSE_S)
    ended = [worker for worker in workers if worker.pipe in ready and not worker.hear()]
    standing = [worker for worker in workers if worker not in ended and worker.stop()]
    try:
        return allocated(directory), ended
    finally:
        for worker in standing:
            worker.go_on()


def _at_rest(directory: Path, limit: int) -> list[str]:
    """What is wrong once nobody uses it any more."""
    store = bind(directory, limit_bytes=limit)
    try:
        # What killed processes left goes, and is counted.
        store.cull(limit)
        # A process that was killed while it changed an object has left it DIRTY.
        found = [one for one in store.verify() if "dirt" not in one.why]
        problems = [f"{one.what}: {one.why}" for one in found]
        objects = sum(1 for _ in store.objects())
        problems += _misjudged(store)
        problems += [f"{table}: its object is gone" for table in stray_tables(directory)]
    except CacheError as error:
        return [str(error)]
    finally:
        store.close()
    head = Head.unpack((directory / "usage").read_bytes()[:HEAD_BYTES])
    if head is None:
        return ["there is no record of use"]
    taken = allocated(directory)
    if head.total != taken:
        problems.append(f"the record says {head.total} bytes, there are {taken}")
    if head.granted or head.objects < objects:
        problems.append(f"{head.granted} bytes granted to nobody, {head.objects} of {objects}")
    return problems


def _misjudged(store: CachefilesStore) -> list[str]:
    """The objects that do not take what is on record for them."""
    room = store._bound.room
    found = []
    with room.change() as change:
        for one in store._space.walk.objects(graveyard=True):
            place = f"{one.path}/{one.name}"
            number = change.index.find(place.encode())
            charge = change.index.slot(number).charge if number else None
            if charge != room.measure(place):
                found.append(f"{place}: {charge} on record, it takes {room.measure(place)}")
    return found
