"""A worker process that maps one cached resource, and does what it is told line by line.

``Mapper`` starts it and talks to it; ``Worker`` is what runs in it.  The resource is read offline,
from what a test has put into the cache: numbered versions, each of which repeats its number.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import netcache
from netcache._cachefiles.binding import Bound
from netcache._client.shared import Look
from netcache._core import mapping_record as layout
from netcache._core.keys import ObjectKey, tag_of
from netcache._core.mapping_record import MappingRecord
from netcache._core.urls import parse
from netcache._fscache.ports import CacheObject, CacheStore
from tests.support.stores import CHECKED_S, version

ROOT = Path(__file__).parent.parent.parent
URL = "http://example.org/shared/data"
BLOCK = 4096
WORD = struct.Struct("<Q")


def key() -> ObjectKey:
    """The cache key of the resource."""
    resource = parse(URL)
    return ObjectKey(resource.volume_key, resource.object_key)


def size_of(number: int) -> int:
    """How long a version is: not whole blocks, and one after the other longer or shorter."""
    return BLOCK * (2 + number * 5 % 7) + 8 * (number % 50)


def content_of(number: int) -> bytes:
    """The bytes of a version."""
    return WORD.pack(number) * (size_of(number) // 8)


def number_in(view: memoryview) -> int:
    """The version that bytes are of; they must all be of one."""
    data = bytes(view)
    (number,) = WORD.unpack_from(data)
    assert data == WORD.pack(number) * (len(data) // 8), "a mixture of versions"
    return int(number)


def put_version(store: CacheStore, number: int) -> None:
    """Make a version the cached one, whole."""
    new = store.begin(key())
    new.write(content_of(number))
    new.publish(version(size_of(number), str(number)), checked_s=CHECKED_S).close()


def modify(cache_object: CacheObject, number: int) -> None:
    """Make an open object the next version, by a local modification."""
    cache_object.begin_modify()
    # What is asked for lies past the new end, and is cut.
    cache_object.write(0, content_of(number), lambda extent: bytes(extent.length))
    cache_object.truncate(size_of(number))
    cache_object.commit(version(size_of(number), str(number)))


def record_of(directory: Path) -> MappingRecord:
    """The record of the resource, from the file; an empty one when there is none."""
    tag = tag_of(Bound.place(key()))
    first = layout.record_at(layout.set_of(tag), 0)
    with (directory / "mappings" / "table").open("rb") as file:
        raw = os.pread(file.fileno(), layout.SET_BYTES, first)
    for start in range(0, len(raw), layout.RECORD_BYTES):
        found = layout.unpack(raw, start)
        if found.tag == tag:
            return found
    return MappingRecord()


class Mapper:
    """A running worker process; every call waits for its answer."""

    def __init__(self, cache: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.mapper", str(cache)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, name: str, *args: Any) -> Any:
        """Have a command done; returns what it returns."""
        self.send(name, *args)
        return self.answer()

    def send(self, name: str, *args: Any) -> None:
        """Have a command begun."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([name, *args]).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """The answer to what was sent; the process must be alive."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the worker ended with {self.process.wait()}"
        return json.loads(line)

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it; a worker that was not killed must end well."""
        killed = self.process.returncode is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            code = self.process.wait(30)
        finally:
            self.process.kill()
            self.process.stdout.close()
        assert killed or code == 0, f"the worker ended with {code}"


@contextlib.contextmanager
def mappers(cache: Path, count: int) -> Iterator[list[Mapper]]:
    """So many worker processes on one cache directory."""
    with contextlib.ExitStack() as stack:
        started = []
        for _ in range(count):
            started.append(Mapper(cache))
            stack.callback(started[-1].close)
        for mapper in started:
            assert mapper.ask("ready") == "ready"
        yield started


class Worker:
    """What the process can be told: a method a command."""

    def __init__(self, cache: str) -> None:
        self.client = netcache.Client(cache_dir=cache, offline=True)
        self.shared = self.client.share(URL)
        self.looks: list[Look] = []
        self.views: list[memoryview] = []

    def ready(self) -> str:
        """It has started."""
        return "ready"

    def look(self, offset: int = 0, length: int | None = None) -> list[int]:
        """Look at the bytes, and keep them: their generation, version and the size."""
        look = self.shared.read(offset, length)
        self.looks.append(look)
        self.views.append(look.view)
        return [look.generation, number_in(look.view), look.size]

    def current(self) -> bool:
        """Whether what was last looked at is current."""
        return self.looks[-1].is_current()

    def open_view(self) -> int:
        """View the whole file, close it, and keep the view: its version."""
        with self.client.open(URL) as file:
            self.views.append(file.view(0, 1 << 30))
        return number_in(self.views[-1])

    def touch(self) -> list[int]:
        """Read every byte of every view that was ever kept: their versions."""
        return [number_in(view) for view in self.views]

    def synchronised(self) -> int:
        """The version that a consumer sees who knows nothing of generations."""
        view = self.shared.synchronised()
        self.views.append(view)
        return number_in(view)

    def sync_all(self, timeout: float) -> list[int]:
        """Have all others let their older maps go."""
        return list(self.shared.sync_all(timeout))

    def messages(self) -> int:
        """How many messages were ever sent in this cache directory."""
        assert self.client._core.store is not None
        return self.client._core.store.worker().messages()

    def change(self, name: str) -> bool:
        """Change the object under the last view by way of the very object that was mapped."""
        from tests.crash import test_mapping_views

        core = self.client._core
        inode = core.inodes.find(parse(URL))
        assert inode is not None
        assert inode.cached is not None
        store = _Holding(core.store, inode.cached.object)
        getattr(test_mapping_views, name)(store)
        return True

    def close_client(self) -> bool:
        """Close everything but the views."""
        self.client.close()
        return True

    def fork_and_touch_later(self, folder: str) -> int:
        """Leave a child behind that reads all views when told by one FIFO, and tells by another."""
        child = os.fork()
        if child:
            return child
        with open(f"{folder}/go") as pipe:
            pipe.read()
        with open(f"{folder}/told", "w") as pipe:
            pipe.write(json.dumps(self.touch()))
        os._exit(0)


class _Holding:
    """A store that finds the one object which a process has open already."""

    def __init__(self, store: CacheStore | None, cache_object: CacheObject) -> None:
        self._store = store
        self._object = cache_object

    def lookup(self, key: ObjectKey) -> CacheObject:
        """The very object."""
        return self._object

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def main() -> None:
    """Do what stdin says, line by line."""
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        name, *args = json.loads(line)
        print(json.dumps(getattr(worker, name)(*args)), flush=True)
    worker.client.close()


if __name__ == "__main__":
    main()
