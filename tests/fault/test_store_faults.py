"""Every call of the store on the disk fails once, for each operation (style: SQLite's way).

Fail the n-th call for n = 1, 2, 3 ... until the operation goes through untouched.  After each:
only ``CacheError`` came out, the files pass the checks when opened anew, and every byte that is
served is a byte of the version that the label names.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import bind
from netcache._core.content import WriteKind
from netcache.errors import CacheError, NoSpaceError
from tests.support.bytemodel import ByteModel
from tests.support.faults import FaultyFileOps
from tests.support.operations import OPERATIONS, Case, check_live, prepared, verify
from tests.support.samples import numbers
from tests.support.stores import KEY, blocks, check, fill_blocks, found, put

MOST_CALLS = 400
ERRNOS = pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])


def numbered(directory: Path, step: int = 1, shift: int = 0) -> Iterator[tuple[int, Path]]:
    """n = 1, 2, 3 ... or a sample of them, each with an own directory."""
    for number in numbers(step, shift):
        assert number < MOST_CALLS, "the operation never goes through"
        yield number, directory / str(number)


@ERRNOS
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_a_failing_call_is_a_cache_error_and_no_wrong_byte(
    tmp_path: Path, operation: Callable[[Case], None], code: int, lasting: bool
) -> None:
    """Each call of the operation, failing once or from then on, with one error or the other."""
    for number, directory in numbered(tmp_path, 4, 2 * lasting + (code == errno.EIO)):
        faults = FaultyFileOps(PosixFileOps())
        case = prepared(directory, faults.fileops)
        faults.arm(code, number, lasting=lasting)
        try:
            with contextlib.suppress(CacheError):
                operation(case)
        finally:
            failed = list(faults.failed)
            faults.disarm()
        verify(directory, case)
        with contextlib.suppress(CacheError):
            case.store.close()
        verify(directory, case)
        if not failed:
            return


@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_room_in_the_middle_keeps_what_is_stored(tmp_path: Path, number: int) -> None:
    """A full disk costs the run that failed: the blocks so far stay, here and for others."""
    faults = FaultyFileOps(PosixFileOps())
    case = prepared(tmp_path, faults.fileops)
    cache_object = found(case.store)
    block = case.block
    faults.arm(errno.ENOSPC, number, only={"write_all"})
    for first in (4, 5, 6):
        low, high = first * block, (first + 1) * block
        try:
            cache_object.write_blocks(low, case.old.part(low, high))
            cache_object.collect_write(WriteKind.DATA, low, high)
        except NoSpaceError:
            cache_object.collect_write(WriteKind.CANCEL, low, high)
    faults.disarm()
    expected = [0, 1, 3, *(first for first in (4, 5, 6) if first != 3 + number)]
    for view in (cache_object, found(bind(tmp_path))):
        assert blocks(view) == expected
        check(view, case.old)
    case.store.close()


@ERRNOS
def test_a_hole_that_cannot_be_made_costs_the_run_only(tmp_path: Path, code: int) -> None:
    """Readers of the object go on in the same file: its descriptor is theirs as well."""
    faults = FaultyFileOps(PosixFileOps())
    case = prepared(tmp_path, faults.fileops)
    cache_object, block = found(case.store), case.block
    descriptor = cache_object.fileno()
    cache_object.write_blocks(4 * block, case.old.part(4 * block, 5 * block))
    faults.arm(code, 1, only={"punch_hole"})
    cache_object.collect_write(WriteKind.CANCEL, 4 * block, 5 * block)
    assert faults.failed == ["punch_hole"]
    faults.disarm()
    assert cache_object.fileno() == descriptor
    for view in (cache_object, found(bind(tmp_path))):
        assert blocks(view) == [0, 1, 3]
        check(view, case.old)
    case.store.close()


def test_nothing_stays_open_after_failures(tmp_path: Path) -> None:
    """Failed operations and closed stores leave no descriptor behind."""
    before = len(os.listdir("/proc/self/fd"))
    for operation in OPERATIONS:
        for number in range(1, 40, 3):
            directory = tmp_path / operation.__name__ / str(number)
            faults = FaultyFileOps(PosixFileOps())
            case = prepared(directory, faults.fileops)
            faults.arm(errno.ENOSPC, number)
            with contextlib.suppress(CacheError):
                operation(case)
            faults.disarm()
            case.store.close()
            assert len(os.listdir("/proc/self/fd")) == before, (operation.__name__, number)


@ERRNOS
def test_a_failing_call_in_bind_is_a_cache_error(tmp_path: Path, code: int) -> None:
    """A directory that cannot be bound says so, and can be bound when the fault is gone."""
    for number, directory in numbered(tmp_path):
        faults = FaultyFileOps(PosixFileOps())
        faults.arm(code, number)
        with contextlib.suppress(CacheError):
            store = bind(directory, fileops=faults.fileops)
            faults.disarm()
            check(put(store, b"abc"), ByteModel(b"abc"))
            store.close()
        clean = bind(directory)
        check(put(clean, b"new"), ByteModel(b"new"))
        clean.close()
        if not faults.failed:
            return


@ERRNOS
def test_closing_under_faults_never_raises_anything_else(tmp_path: Path, code: int) -> None:
    """Withdrawal on a broken disk ends, with or without a ``CacheError``."""
    faults = FaultyFileOps(PosixFileOps())
    case = prepared(tmp_path, faults.fileops)
    cache_object = found(case.store)
    fill_blocks(cache_object, case.old, 4, 5)
    faults.arm(code, 1, lasting=True)
    with contextlib.suppress(CacheError):
        cache_object.close()
    with contextlib.suppress(CacheError):
        case.store.close()
    verify(tmp_path, case)


def test_after_eio_the_cache_is_dead_or_well_but_never_wrong(tmp_path: Path) -> None:
    """A backend error withdraws the cache for this process; it may not half work."""
    faults = FaultyFileOps(PosixFileOps())
    case = prepared(tmp_path, faults.fileops)
    cache_object = found(case.store)
    faults.arm(errno.EIO, 1, lasting=True)
    with pytest.raises(CacheError):
        fill_blocks(cache_object, case.old, 4, 5)
    faults.disarm()
    check_live(cache_object, case.old)
    with contextlib.suppress(CacheError):
        again = case.store.lookup(KEY)
        if again is not None:
            check_live(again, case.old)
    case.store.close()
    verify(tmp_path, case)
