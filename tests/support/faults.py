"""A ``FileOps`` that fails its n-th call, once or from then on."""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any

from tests.support.intercept import Intercept

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps

UNFAILING = frozenset({"close", "unlock_range", "unlock_folder"})
"""Calls that cannot fail in a way that a program could act upon."""


class FaultyFileOps(Intercept):
    """Raises ``OSError(errno)`` instead of performing the ``fail_at``-th call.

    ``only`` limits the calls that are counted to some methods; ``lasting`` fails all the later
    ones too, as a disk that broke would.  Nothing fails before ``arm``.
    """

    def __init__(self, inner: FileOps) -> None:
        super().__init__(inner)
        self.calls = 0
        self.failed: list[str] = []
        self._fail_at = 0
        self._errno = 0
        self._only: Container[str] | None = None
        self._lasting = False

    def arm(
        self,
        errno: int,
        fail_at: int,
        *,
        only: Container[str] | None = None,
        lasting: bool = False,
    ) -> None:
        """Count from now; fail call number ``fail_at`` (1 is the next)."""
        self.calls = 0
        self.failed = []
        self._errno, self._fail_at, self._only, self._lasting = errno, fail_at, only, lasting

    def disarm(self) -> None:
        """Fail nothing any more."""
        self._fail_at = 0

    def around(self, name: str, args: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        """Fail the chosen call; perform the others."""
        if not self._fail_at or name in UNFAILING:
            return call()
        if self._only is not None and name not in self._only:
            return call()
        self.calls += 1
        due = self.calls >= self._fail_at if self._lasting else self.calls == self._fail_at
        if due:
            self.failed.append(name)
            raise OSError(self._errno, os.strerror(self._errno), name)
        return call()
