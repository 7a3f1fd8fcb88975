"""A ``FileOps`` that counts its calls, method by method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.support.intercept import Intercept

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps


class CountingFileOps(Intercept):
    """Counts calls in ``counts`` and keeps their names in order in ``names``."""

    def __init__(self, inner: FileOps) -> None:
        super().__init__(inner)
        self.counts: Counter[str] = Counter()
        self.names: list[str] = []

    def around(self, name: str, args: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        """Count, then perform."""
        self.counts[name] += 1
        self.names.append(name)
        return call()

    def reset(self) -> None:
        """Begin to count anew."""
        self.counts.clear()
        self.names.clear()

    @property
    def seeks(self) -> int:
        """How many calls asked for data or holes."""
        return sum(count for name, count in self.counts.items() if "seek" in name)

    @property
    def total(self) -> int:
        """How many calls there were."""
        return self.counts.total()
