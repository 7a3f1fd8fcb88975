"""One process of the stress test: random operations, each of them checked, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import random
import select
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import netcache
from tests.stress.book import Book, author_header
from tests.stress.checks import Watch
from tests.stress.no_locks import disable_locks
from tests.stress.plan import Place, Plan

Say = Callable[[str], None]

TIMEOUT_S = 20.0
_HELD_MAX = 3


class Held:
    """A file that stays open over other operations, and views that were cut from it."""

    def __init__(self, name: str, file: netcache.File) -> None:
        self.name = name
        self.file = file
        self.views: list[tuple[memoryview, bytes]] = []


class Worker:
    """A client and what it does.  ``who`` is different for each life of each process."""

    def __init__(self, plan: Plan, place: Place, who: str, say: Say) -> None:
        self.plan, self.place, self.who = plan, place, who
        self.book = Book(place.book)
        self.chance = random.Random(f"{plan.seed} {who}")
        self.number = 0
        self.held: list[Held] = []
        self._say = say
        self.client = self._client()

    def _client(self) -> netcache.Client:
        chance = self.chance
        return netcache.Client(
            cache_dir=self.place.cache,
            cache_size=self.plan.cache_bytes,
            validate=chance.choice(["open", "open", "always"]),
            write_mode=chance.choice(["through", "back"]),
            # Without locks there is no journal, and it says so (test_no_locks).
            durability=chance.choice(["journal", "journal", None]) if self.plan.locks else None,
            sync=chance.choice(["lazy", "lazy", "commit"]),
            verify=chance.choice(["open", "read", "none"]),
            timeout=TIMEOUT_S,
            flush_interval=0.05,
            headers=author_header(self.who),
        )

    @property
    def op_id(self) -> str:
        """The operation that is being done, different from all others of the run."""
        return f"{self.who}.{self.number}"

    def name(self) -> str:
        """A resource."""
        return f"r{self.chance.randrange(self.plan.names)}"

    def url(self, name: str) -> str:
        """Its URL."""
        return self.place.url + name

    def data(self, length: int) -> bytes:
        """Bytes that nobody else writes."""
        return random.Random(f"{self.plan.seed} {self.op_id} {length}").randbytes(max(16, length))

    def size(self) -> int:
        """The size of a new version."""
        return self.chance.choice([16, 4096, self.chance.randrange(16, self.plan.largest)])

    def step(self) -> None:
        """Do one operation, and say how it went."""
        from tests.stress.operations import OPERATIONS, WEIGHTS

        (name,) = self.chance.choices(list(OPERATIONS), WEIGHTS)
        self.number += 1
        self._say(f"begin {name}")
        try:
            OPERATIONS[name](self)
        except Exception as error:
            self._say(f"fault {self.op_id} {name}: {_described(error)}")
        self._say(f"done {name}")

    def hold(self, name: str, file: netcache.File) -> Held:
        """Keep a file open; the oldest is let go."""
        self.held.append(Held(name, file))
        if len(self.held) > _HELD_MAX:
            self.held.pop(0).file.close()
        return self.held[-1]

    def let_go(self) -> None:
        """Close what is held; the views must still show what they showed."""
        while self.held:
            held = self.held.pop()
            held.file.close()
            for view, truth in held.views:
                assert bytes(view) == truth, f"{held.name}: a view has changed"

    def begin_anew(self) -> None:
        """Another client, with other options."""
        self.let_go()
        self.client.close()
        self.client = self._client()

    def watch(self, name: str) -> Watch:
        """An operation on a resource begins."""
        return Watch(self.book, name, self.who)

    @contextlib.contextmanager
    def local_file(self, data: bytes = b"") -> Iterator[Path]:
        """A local file for a moment."""
        with tempfile.TemporaryDirectory(dir=self.place.root / "tmp") as folder:
            path = Path(folder) / "file"
            path.write_bytes(data)
            yield path

    def note(self, line: str) -> None:
        """Say something of an edit that must be true whatever happens to this process."""
        log = os.open(self.place.flushed, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(log, line.encode() + b"\n")
        finally:
            os.close(log)

    def tell_tasks(self) -> None:
        """Where the tasks of the client's loop stand, on stderr."""
        portal = self.client._runner._portal
        for task in asyncio.all_tasks(portal._loop) if portal is not None else ():
            task.print_stack(file=sys.stderr)

    def close(self) -> None:
        """The end of a life that nobody cut short."""
        self.let_go()
        self.client.close()


def work(plan: Plan, place: Place, who: str, out: int, stop: int) -> None:
    """Work until ``stop`` can be read from; lines go to ``out``."""
    if not plan.locks:
        disable_locks()

    def say(line: str) -> None:
        os.write(out, line[:4000].encode() + b"\n")

    # Whoever is stuck is asked where.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    worker = Worker(plan, place, who, say)
    signal.signal(signal.SIGUSR2, lambda *_: worker.tell_tasks())
    while not select.select([stop], [], [], 0)[0]:
        worker.step()
    say("begin close")
    worker.close()
    say("done close")


def _described(error: BaseException) -> str:
    """An error and where it came from, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
    text = f"{type(error).__name__}: {error} [{' '.join(where)}]"
    if error.__context__ is not None:
        text += f" after {_described(error.__context__)}"
    return text.replace("\n", " ")
