"""Shared files: one cached resource, mapped by several worker processes.

Each worker opens the resource with a client of its own on the same cache directory.  What it reads
costs one load of shared memory and a comparison; when another process has replaced, changed or
dropped the object, the generation has moved, and the worker opens the resource anew when it next
looks, with the checks at the server that its client makes at an open.  Nobody is woken for that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

from netcache._client.core import ClientCore
from netcache._client.views import Views
from netcache._core.mapping_record import UNSHARED
from netcache._core.urls import Resource
from netcache._fscache.sharing import MappingWorker, Synced
from netcache._netfs.handle import ReadHandle
from netcache._netfs.inodes import key_of
from netcache.errors import CacheError, ClosedError, NotCachedError, StaleError

if TYPE_CHECKING:
    from netcache._client.runner import Runner

T = TypeVar("T")

LOOKS_MAX = 16
"""How often a look, or the use of one, is tried again when the resource keeps changing."""

SYNC_TIMEOUT_S = 5.0


class _Held(NamedTuple):
    """The map that was last looked at, and of which generation it is."""

    url: str
    generation: int
    words: memoryview
    word: int
    base: memoryview
    low: int
    high: int
    size: int


_NO_WORDS = memoryview(bytes(8)).cast("Q")
_NOTHING = _Held("", -1, _NO_WORDS, 0, memoryview(b""), 0, -1, 0)


class Look:
    """Bytes of one generation, as a context manager: ``with shared.read() as (generation, view)``.

    Raises ``StaleError`` at the end of the block when the generation has moved meanwhile: what was
    made of the bytes is the result of an older version.  The bytes themselves stay what they were.
    """

    __slots__ = ("_held", "view")

    def __init__(self, held: _Held, view: memoryview) -> None:
        self._held = held
        self.view = view

    @property
    def generation(self) -> int:
        """The generation that the bytes are of; 0 for a private copy."""
        return self._held.generation

    @property
    def size(self) -> int:
        """The size of the whole resource in this generation."""
        return self._held.size

    def __enter__(self) -> tuple[int, memoryview]:
        return self._held.generation, self.view

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and not self.is_current():
            raise StaleError(
                f"{self._held.url} changed while its cached bytes were used (use them again)",
                url=self._held.url,
            )

    def is_current(self) -> bool:
        """Whether the generation is still that of the resource; a private copy's always is."""
        held = self._held
        return held.words[held.word] == held.generation


def _worker_of(core: ClientCore) -> MappingWorker | None:
    """This client's place among the workers; None without a cache, or with one that failed."""
    try:
        return core.store.worker() if core.store is not None else None
    except CacheError:
        return None


class SharedFile:
    """A resource whose cached bytes this process shares with other workers; read-only.

    Made by ``Client.share``.  Thread-safe.  ``generation`` 0 means a private copy: where there is
    no cache, the resource cannot be cached, all places for workers are taken, or each read has to
    be checked at the server.  It is of one version, and nobody tells when that becomes old.
    """

    def __init__(self, core: ClientCore, runner: Runner, resource: Resource) -> None:
        self.url = resource.url
        self._core = core
        self._runner = runner
        self._resource = resource
        self._key = key_of(resource)
        self._worker = _worker_of(core)
        self._held = _NOTHING
        self._handle: ReadHandle | None = None
        self._views: Views | None = None
        self._closed = False
        self._lock = threading.Lock()

    def read(self, offset: int = 0, length: int | None = None) -> Look:
        """The bytes at ``offset`` (to the end when ``length`` is None) and their generation.

        Where they are mapped already and nothing has changed, this is one load and a comparison.
        Otherwise it may open the resource, and wait for the server.
        """
        held = self._held
        _, generation, words, word, base, low, high, size = held
        if words[word] == generation:
            end = size if length is None else offset + length
            if end > size:
                end = size
            if low <= offset <= end <= high:
                return Look(held, base[offset:end])
        return self._look(offset, length)

    def apply(
        self, function: Callable[[memoryview], T], offset: int = 0, length: int | None = None
    ) -> T:
        """What ``function`` makes of the bytes, all of which are of one version, a current one.

        It is called again when they became stale meanwhile; ``StaleError`` after 16 times.
        """
        for _ in range(LOOKS_MAX - 1):
            look = self.read(offset, length)
            result = function(look.view)
            if look.is_current():
                return result
        with self.read(offset, length) as (_, view):
            return function(view)

    def private_copy(self, offset: int = 0, length: int | None = None) -> bytes:
        """A copy of the bytes, of one version, current when it was made."""
        return self.apply(bytes, offset, length)

    def synchronised(
        self, offset: int = 0, length: int | None = None, *, timeout: float = SYNC_TIMEOUT_S
    ) -> memoryview:
        """A plain view for a consumer that knows nothing of generations.

        No worker holds an older map when it is returned.  When one does not answer within
        ``timeout`` seconds, it is a private copy.
        """
        for _ in range(LOOKS_MAX):
            look = self.read(offset, length)
            if look.generation == UNSHARED:
                return look.view
            synced = self.sync_all(timeout)
            if synced.silent:
                break
            if synced.generation == look.generation:
                return look.view
        return memoryview(self.private_copy(offset, length))

    def sync_all(self, timeout: float = SYNC_TIMEOUT_S) -> Synced:
        """Have every worker let its older maps go: the only thing here that wakes anybody.

        A message goes to each living worker that has not looked since the last change; returns
        when all have answered, or after ``timeout`` seconds with those that are ``silent``.
        """
        self._need_open()
        if self._worker is None:
            return Synced(UNSHARED, 0, 0, 0)
        return self._worker.sync_all(self._key, timeout)

    def let_go(self, generation: int) -> None:
        """Look anew next time, unless what is held is of this generation."""
        if self._held.generation != generation:
            self._held = _NOTHING

    @property
    def size(self) -> int:
        """The size of the version shown now; may wait for the server."""
        return self.read(0, 1).size

    # The slow way.

    def _look(self, offset: int, length: int | None) -> Look:
        if offset < 0 or (length is not None and length < 0):
            raise ValueError(f"read of {length} bytes at {offset}: neither may be negative")
        self._need_open()
        missing = False
        with self._lock:
            for _ in range(LOOKS_MAX):
                try:
                    look = self._try(offset, length)
                except StaleError:
                    look = None
                except NotCachedError:
                    # Offline: of what this client knows; another process may have cached more.
                    self._forget()
                    if missing:
                        raise
                    look, missing = None, True
                if look is not None:
                    return look
                self._forget()
        raise StaleError(f"{self.url} changes faster than it can be read (try again)", url=self.url)

    def _try(self, offset: int, length: int | None) -> Look | None:
        """Map, then ask of which generation that is; None when it is of none any more."""
        views = self._opened()
        views.expect(offset, length)
        size = views.size
        end = size if length is None else min(offset + length, size)
        view = views.view(offset, max(0, end - offset))
        base, low, high = views.mapping.window
        if self._worker is None or not low <= offset <= end <= high:
            return self._private(bytes(view), size)
        settled = self._worker.settle(self._key, views.mapping.backing_inode, self)
        if settled is None:
            return None
        if settled.generation == UNSHARED:
            self._forget()
            return self._private(bytes(view), size)
        words, word, generation = settled
        held = _Held(self.url, generation, words, word, base, low, high, size)
        self._held = held
        return Look(held, view)

    def _private(self, data: bytes, size: int) -> Look:
        # Nobody would tell when it becomes old: the next look opens anew.
        self._let_handle_go()
        view = memoryview(data)
        return Look(_Held(self.url, UNSHARED, _NO_WORDS, 0, view, 0, -1, size), view)

    def _opened(self) -> Views:
        self._need_open()
        if self._views is None:
            self._handle = self._core.open_handle(self._resource)
            self._views = Views(self._handle, self._runner)
        return self._views

    def _forget(self) -> None:
        """The name stands for something else than this client knows: look it up again."""
        if self._handle is not None and self._handle.inode is not None:
            self._core.inodes.forget(self._key, self._handle.inode)
        self._let_handle_go()

    def _let_handle_go(self) -> None:
        handle, self._handle, self._views = self._handle, None, None
        self._held = _NOTHING
        if handle is not None:
            handle.close()

    def _need_open(self) -> None:
        self._core.need_open()
        if self._closed:
            raise ClosedError(f"{self.url} is closed", url=self.url)

    def close(self) -> None:
        """Let the file go; views that were handed out stay valid.  Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._let_handle_go()
        if self._worker is not None:
            self._worker.leave(self._key, self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
