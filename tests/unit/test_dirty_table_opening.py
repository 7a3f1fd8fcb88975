"""What the table of dirty files keeps of resources that nobody edits."""

from __future__ import annotations

from typing import cast

import pytest

from netcache._core.urls import parse
from netcache._netfs.dirty_file import DirtyFile
from netcache._netfs.dirty_table import DirtyTable
from netcache._netfs.writeback import Writeback
from netcache.errors import NotFoundError


async def test_nothing_is_kept_of_what_was_opened_once() -> None:
    """A client may edit any number of resources, one after the other."""
    table = DirtyTable(cast("Writeback", None), at_once=False)

    async def make() -> DirtyFile:
        assert len(table._opening) == 1
        raise NotFoundError("not there")

    for number in range(3):
        with pytest.raises(NotFoundError):
            await table.open_shared(parse(f"http://origin.example/{number}"), make)
    assert not table._opening
