"""Items of an operation: where each goes, how far it is, and what became of it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from netcache._core.urls import local_name, why_not_local
from netcache.errors import NetCacheError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netcache._client.report import Report
    from netcache._core.progress import ProgressSink
    from netcache._core.urls import Resource


def local_place(resource: Resource, dest: str, *, several: bool = False, tree: bool = False) -> str:
    """The local path for a resource: DEST itself, or its own name inside the folder DEST.

    Raises ``UsageError`` for a resource whose name would not be inside it, and refuses what is
    special (``refuse_special``; a tree sees to that itself).
    """
    inside = several or (not tree and (dest.endswith("/") or os.path.isdir(dest)))
    place = os.path.join(dest, local_name(resource)) if inside else dest
    if not tree:
        refuse_special(place)
    return place


def refuse_namesakes(sources: Iterable[tuple[str, str]], folder: str) -> None:
    """Of two sources (each a name and what has it) one would replace the other in ``folder``.

    Who names the same one twice loses nothing.
    """
    found: dict[str, str] = {}
    for name, source in sources:
        first = found.setdefault(name, source)
        # (What has no usable name is an error of its own.)
        if first != source and not why_not_local(name):
            raise UsageError(
                f"{first} and {source} would both be {name} in {folder} (name a target for each)"
            )


def is_special(path: str) -> bool:
    """Whether a device, a FIFO or a socket stands at ``path``, or at the end of a link there.

    A link in ``/dev`` is one whatever it leads to: that of stdout leads to a file now and then.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    if stat.S_ISREG(mode):
        return os.path.dirname(path) == "/dev"
    return not stat.S_ISDIR(mode)


def own_descriptor(path: str) -> int | None:
    """The descriptor of this process that ``path`` names (``/dev/stdout``, ``/dev/fd/3``), if any.

    To open it again is another thing: a position of its own, and an error for a socket.
    """
    folder, name = os.path.split(path)
    if folder in ("/dev/fd", "/proc/self/fd") and name.isdecimal():
        return int(name)
    streams = ("/dev/stdin", "/dev/stdout", "/dev/stderr")
    return streams.index(path) if path in streams else None


def refuse_special(path: str) -> None:
    """What is special is written to or left alone, never replaced by a file."""
    if is_special(path):
        raise not_replaced(path)


def not_replaced(path: str) -> NetCacheError:
    """The error for a target that is special."""
    return NetCacheError(
        f"{path} is a device, a FIFO or a socket, and no file takes its place (write the bytes to "
        "it, as netcache cat gives them)"
    )


class ItemProgress:
    """Turns byte counts of one item into progress events."""

    def __init__(self, sink: ProgressSink | None, name: str, total: int | None) -> None:
        self._sink = sink
        self._name = name
        self._total = total
        self._done = 0
        self._tell("start")

    def __call__(self, count: int) -> None:
        self._done += count
        self._tell("advance")

    def end(self, *, good: bool) -> None:
        """The item is done, or failed."""
        self._tell("done" if good else "failed")

    def _tell(self, kind: str) -> None:
        if self._sink is not None:
            from netcache._core.progress import ProgressEvent

            self._sink(ProgressEvent(kind, self._name, self._done, self._total))  # type: ignore[arg-type]


class Item:
    """One item of an operation: ends its progress, and collects its error into the report.

    The error of an only item goes up as it is; of several, the others go on (exit code 6).
    """

    def __init__(self, report: Report, name: str, item: ItemProgress | None, *, only: bool) -> None:
        self._report = report
        self._name = name
        self._item = item
        self._only = only

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if self._item is not None:
            self._item.end(good=error is None)
        if isinstance(error, OSError) and not self._only:
            from netcache._client.failures import exit_code_of, line_about
            from netcache._client.report import ItemError

            failure = ItemError(self._name, line_about(self._name, error), exit_code_of(error))
            self._report.errors.append(failure)
            return True
        return False
