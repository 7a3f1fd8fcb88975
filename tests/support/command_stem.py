"""A process that has imported what every command begins with, and becomes one after another.

Most of a short command's time goes into imports, and tests run some hundred of them: so those
that run to their end in a pipe are forked from this process, which runs nothing and has no
threads.  From the fork on it is the command, with its arguments, environment, folder and streams.
What commands import only where they need it, they import themselves, as they would: netcache asks
what is there already, and goes another way.

``python -m tests.support.command_stem DESCRIPTOR`` serves that socket until its other end is
closed.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import marshal
import os
import pkgutil
import selectors
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from typing import NoReturn

MESSAGE_MAX = 128 * 1024
PACKAGES = ("netcache._core", "netcache._fscache", "netcache._cachefiles", "netcache_cli")
MODULES = ("netcache.sync", "attr", "email.parser", "http.cookies", "ssl", "yarl")
NOT_YET = {"aiohttp", "asyncio", "concurrent.futures", "logging", "rich"}
"""What a command that needs none of it never imports."""


def serve(number: int) -> None:
    """Fork a command for each message.

    A message is what `become` takes, with four descriptors: stdin, stdout, stderr, and where to
    write the process id and, when the process has ended, its return code.
    """
    with socket.socket(fileno=number) as asked, selectors.DefaultSelector() as selector:
        selector.register(asked, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not asked:
                    selector.unregister(key.fileobj)
                    _tell_end(key.fd, *key.data)
                    continue
                message, descriptors, _, _ = socket.recv_fds(asked, MESSAGE_MAX, 4)
                if not message:
                    return
                child = _fork(message, descriptors)
                data = child, descriptors[3]
                selector.register(os.pidfd_open(child), selectors.EVENT_READ, data)


def import_first() -> None:
    """Import what every command begins with, or may begin with without taking another way."""
    for package in map(importlib.import_module, PACKAGES):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not module.name.endswith(("__main__", ".logs")):
                importlib.import_module(module.name)
    for name in MODULES:
        importlib.import_module(name)
    if early := NOT_YET & sys.modules.keys():
        raise RuntimeError(f"{sorted(early)}: imported before the command, which asks for it")


def become(
    streams: Sequence[int], args: list[bytes], cwd: str, environ: dict[str, str], umask: int
) -> NoReturn:
    """Run the command, and end the process."""
    try:
        for stream, descriptor in enumerate(streams):
            os.dup2(descriptor, stream)
        os.closerange(3, 256)
        os.chdir(cwd)
        os.umask(umask)
        os.environ.clear()
        os.environ.update(environ)
        time.tzset()
        sys.argv = ["netcache", *map(os.fsdecode, args)]
        importlib.import_module("netcache_cli._entry").main()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


def _fork(message: bytes, descriptors: list[int]) -> int:
    child = os.fork()
    if not child:
        become(descriptors[:3], *marshal.loads(message))
    for descriptor in descriptors[:3]:
        os.close(descriptor)
    os.write(descriptors[3], array.array("i", [child]).tobytes())
    return child


def _tell_end(process: int, child: int, answer: int) -> None:
    os.close(process)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(BrokenPipeError):
        os.write(answer, array.array("i", [os.waitstatus_to_exitcode(status)]).tobytes())
    os.close(answer)


if __name__ == "__main__":
    import_first()
    gc.collect()
    gc.freeze()
    serve(int(sys.argv[1]))
