"""A process that has few descriptors left when it first needs the network: a program for tests.

Arguments: the URL of a folder with the file ``a`` in it, an empty folder, and what to do.  What is
done is done with 0, 1, 2 ... descriptors left, each time in a process that has imported nothing for
it yet, and then once more with all of them.  Prints a line of JSON for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netcache
from netcache import aio as _aio  # what the asynchronous face is when it is there

FREE_MAX = 13
"""With so many nothing is missing any more."""

LIMIT = 64


def sync_work(client: netcache.Client, url: str, place: Path) -> dict[str, Callable[[], Any]]:
    """What is done, by its name; the result is what is compared."""

    def read() -> bytes:
        with client.open(url + "a") as file:
            return file.read()

    def get() -> bytes:
        client.get(url + "a", place / "copy")
        return (place / "copy").read_bytes()

    def write() -> str:
        with client.open(url + "new", "wb") as file:
            file.write(b"new")
        return "written"

    def put() -> str:
        client.put(place / "source", url + "new")
        return "written"

    def sync() -> bytes:
        errors = client.sync(url, place / "tree").errors
        if errors:
            raise netcache.NetCacheError(errors[0].error)
        return (place / "tree" / "a").read_bytes()

    return {
        "read": read,
        "get": get,
        "write": write,
        "put": put,
        "sync": sync,
        "stat": lambda: client.stat(url + "a").size,
        "ls": lambda: [entry.name for entry in client.ls(url)],
        "warm": lambda: len(client.warm(url + "a").errors),
    }


def async_work(client: netcache.AsyncClient, url: str) -> dict[str, Callable[[], Any]]:
    """The same for the other face."""

    async def read() -> bytes:
        async with await client.open(url + "a") as file:
            return await file.read()

    async def write() -> str:
        async with await client.open(url + "new", "wb") as file:
            await file.write(b"new")
        return "written"

    files: list[netcache.AsyncFile] = []

    async def edit() -> str:
        # What could not be sent is kept, and goes with the next try.
        if not files:
            files.append(await client.open(url + "a", "r+b"))
        await files[0].pwrite(b"x", 0)
        await files[0].fsync()
        return "written"

    return {"async-read": read, "async-write": write, "async-edit": edit}


class Few:
    """All descriptors but some are taken as long as it is entered."""

    def __init__(self, free: int) -> None:
        self._free = free
        self._held: list[int] = []

    def __enter__(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        with contextlib.suppress(OSError):
            while True:
                self._held.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(self._free):
            os.close(self._held.pop())

    def __exit__(self, *what: object) -> None:
        for fd in self._held:
            os.close(fd)


def told(result: Any) -> Any:
    """A result as JSON has it."""
    return len(result) if isinstance(result, bytes) else result


def failed(error: BaseException) -> dict[str, Any]:
    """An error as JSON has it."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    return {"error": str(error), "kinds": kinds, "errno": getattr(error, "errno", None)}


def one(url: str, place: Path, what: str, free: int) -> list[Any]:
    """Do it twice; what came of it each time."""
    found: list[Any] = []
    with netcache.Client(cache_dir=place / "cache", retries=0, timeout=20) as client:
        work = sync_work(client, url, place)[what]
        for few in (Few(free), Few(LIMIT // 2)):
            with few:
                try:
                    found.append(told(work()))
                except Exception as error:
                    found.append(failed(error))
    return found


async def one_async(url: str, place: Path, what: str, free: int) -> list[Any]:
    """The same for the other face, whose loop is there already."""
    found: list[Any] = []
    async with _aio.AsyncClient(cache_dir=place / "cache", retries=0, timeout=20) as client:
        work = async_work(client, url)[what]
        for few in (Few(free), Few(LIMIT // 2)):
            with few:
                try:
                    found.append(told(await work()))
                except Exception as error:
                    found.append(failed(error))
    return found


def main(url: str, folder: str, what: str) -> None:
    """Fork for each, so that all begin with the same modules."""
    for free in range(FREE_MAX):
        place = Path(folder) / str(free)
        place.mkdir()
        (place / "source").write_bytes(b"new")
        if child := os.fork():
            assert os.waitpid(child, 0)[1] == 0
            continue
        if what.startswith("async-"):
            found = asyncio.run(one_async(url, place, what, free))
        else:
            found = one(url, place, what, free)
        print(json.dumps(found), flush=True)
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
