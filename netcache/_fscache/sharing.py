"""The port for sharing the maps of cache objects between processes.

``_core.mapping_record`` says what it is about.  A *worker* is a process (a client of it) that has
a place in the table of the cache directory; a *holder* is what holds a map in that process.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from netcache._core.keys import ObjectKey


class Settled(NamedTuple):
    """A map is that of ``generation``, as long as ``words[word]`` says the same.

    ``generation`` 0 (``UNSHARED``): there is no telling when it changes, so take a private copy.
    """

    words: memoryview
    word: int
    generation: int


class Synced(NamedTuple):
    """How ``sync_all`` went.

    ``generation`` is the one that all workers know; ``messages`` were sent, ``answered`` of them;
    ``silent`` workers are alive and have not answered in time.  0 0 0 0 where nothing is shared.
    """

    generation: int
    messages: int
    answered: int
    silent: int


class Holder(Protocol):
    """What holds a map of an object."""

    def let_go(self, generation: int) -> None:
        """Hold no map of another generation than this one.  On any thread; does not wait."""


class MappingWorker(Protocol):
    """This process's place among those that share maps.  Thread-safe; short local calls only.

    Nothing raises: what cannot be shared is ``UNSHARED``.
    """

    def settle(self, key: ObjectKey, inode: int, holder: Holder) -> Settled | None:
        """``holder`` has mapped the file with this inode number: which generation is it of?

        None: it is not (or no longer) the file of ``key``; look it up again.
        """

    def leave(self, key: ObjectKey, holder: Holder) -> None:
        """``holder`` holds no map of ``key`` any more, and will not."""

    def sync_all(self, key: ObjectKey, timeout_s: float) -> Synced:
        """Have every worker let its older maps of ``key`` go.

        Waits for answers, for ``timeout_s`` at most; the dead are not waited for.
        """

    def messages(self) -> int:
        """How many messages the workers of this cache directory have ever been sent."""
