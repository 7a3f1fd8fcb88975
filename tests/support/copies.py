"""How much is copied from one file to another."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


class CopiesCounted:
    """How many bytes the kernel copied, in all threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        self._real = os.copy_file_range
        monkeypatch.setattr(os, "copy_file_range", self._copy)

    def _copy(self, *args: int) -> int:
        count = self._real(*args)
        self.bytes += count
        return count
