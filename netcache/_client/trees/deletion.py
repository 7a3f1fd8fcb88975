"""The names that are to go: collected while the tree is walked, removed after it.

Files and links go first, then folders, the deepest first.  A folder that keeps something is kept
without a word: the reason has been told where it arose.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from netcache._client.trees.folders import Removal
from netcache._client.trees.parallel import in_parallel
from netcache._client.trees.reach import Reach
from netcache._client.trees.tally import EXIT_SOME_FAILED, Tally

Remove = Callable[[list[Removal]], Awaitable[list[tuple[Removal, OSError]]]]
Batches = Callable[[Sequence[Removal]], Iterable[list[Removal]]]


class Deletion:
    """The removals of one run.  On the event loop only."""

    def __init__(
        self, remove: Remove, batches: Batches, tally: Tally, reach: Reach, worker_count: int
    ) -> None:
        self.source_is_incomplete = False
        self._remove = remove
        self._batches = batches
        self._tally = tally
        self._reach = reach
        self._worker_count = worker_count
        self._removals: list[Removal] = []
        self._kept: set[str] = set()

    def add(self, removal: Removal) -> None:
        """A name is to go."""
        self._removals.append(removal)

    def keep(self, name: str) -> None:
        """Keep a folder, and those above it, because something in it stays."""
        while name and name not in self._kept:
            self._kept.add(name)
            name = name.rpartition("/")[0]

    def is_kept(self, name: str) -> bool:
        """Whether a name stays, or could not be removed."""
        return name in self._kept

    def names(self) -> list[Removal]:
        """What would go."""
        return [removal for removal in self._removals if removal.name not in self._kept]

    def why_not(self, count_max: int | None) -> tuple[str, int] | None:
        """Why nothing may be deleted (and the exit code for it); None when it may."""
        if self.source_is_incomplete:
            why = "nothing was deleted, because a part of the source could not be listed"
            return why, EXIT_SOME_FAILED
        if self._reach.has_refused:
            return "nothing was deleted, because not everything was copied", EXIT_SOME_FAILED
        count = len(self.names())
        if count_max is not None and count > count_max:
            why = f"nothing was deleted: {count} names would go, and at most {count_max} may"
            return why, EXIT_SOME_FAILED
        return None

    async def run(self, *, dry_run: bool) -> None:
        """Remove what is to go."""
        removals = self.names()
        if dry_run:
            for removal in removals:
                self._tally.would_delete(removal.name)
            return
        await self._level([removal for removal in removals if not removal.is_folder])
        by_depth: dict[int, list[Removal]] = {}
        for removal in removals:
            if removal.is_folder:
                by_depth.setdefault(removal.name.count("/"), []).append(removal)
        for depth in sorted(by_depth, reverse=True):
            await self._level([r for r in by_depth[depth] if r.name not in self._kept])

    async def _level(self, removals: Sequence[Removal]) -> None:
        await in_parallel(self._batches(removals), self._remove_batch, self._worker_count)

    async def _remove_batch(self, batch: list[Removal]) -> None:
        if self._reach.in_doubt:
            batch = [removal for removal in batch if not await self._is_refused(removal)]
        if not batch:
            return
        failures = await self._remove(batch)
        self._tally.report.deleted += len(batch) - len(failures)
        for removal, error in failures:
            self.keep(removal.name)
            self._tally.failed(removal.name, error)
        if len(failures) < len(batch):
            self._tally.silent_count = 0

    async def _is_refused(self, removal: Removal) -> bool:
        if not await self._reach.refuses(removal.name):
            return False
        self.keep(removal.name)
        return True
