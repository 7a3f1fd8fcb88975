"""What does not take longer because there are many objects, counted in system calls.

``python -m benchmarks.scale_culling`` measures the same with a million objects.
"""

from __future__ import annotations

import pytest

from benchmarks.scale_culling import Line, build, key, measure
from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import bind
from tests.support.counting import CountingFileOps


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    """The same measurements with few objects and with ten times as many."""
    folder = tmp_path_factory.mktemp("scale")
    return [measure(str(folder / str(count)), count, turns=150) for count in (200, 2000)]


@pytest.mark.parametrize("what", ["bind", "open", "cull", "put"])
def test_calls_do_not_grow_with_the_cache(lines: list[Line], what: str) -> None:
    """Binding, opening an object, culling one, storing one where another has to go for it."""
    few, many = (getattr(line, what).calls for line in lines)
    assert many <= 1.25 * few + 2


def test_objects_that_are_there_are_not_looked_at_by_who_binds_and_opens(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """No folder is listed, and no other object's file opened or measured."""
    folder = tmp_path_factory.mktemp("many")
    build(str(folder), 500)
    ops = CountingFileOps(PosixFileOps())
    store = bind(folder, fileops=ops.fileops)
    found = store.lookup(key(250))
    assert found is not None
    assert ops.counts["list_folder"] == 0
    assert ops.counts["open_file"] <= 6
    assert ops.counts["stat_name"] == 0
    found.close()
    store.close()
