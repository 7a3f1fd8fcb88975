"""The crash tests find what they are for: each lie told to the store comes to light.

A lie takes away one thing that the protocol rests on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from netcache._cachefiles.statx import Identity
from netcache._core.content import Content
from tests.support.crash_explore import Explorer, Plan
from tests.support.intercept import Override
from tests.support.labels import ATTRIBUTE
from tests.support.stores import Sync

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps


def _nothing(*_: Any) -> None:
    """Say that it was done."""


def data_is_not_synced(inner: FileOps) -> FileOps:
    """A disk that acknowledges ``fdatasync`` and does nothing."""
    return Override(inner, fdatasync=_nothing).fileops


def nothing_else_is_synced(inner: FileOps) -> FileOps:
    """A disk that acknowledges ``fsync`` and does nothing."""
    return Override(inner, fsync=_nothing).fileops


def one_boot_for_ever(inner: FileOps) -> FileOps:
    """A machine whose epochs cannot be told apart."""

    def identify(fd: int) -> Identity:
        return inner.identify(fd)._replace(mount=7)

    return Override(inner, boot_id=lambda: b"b" * 16, identify=identify).fileops


def renames_in_two_steps(inner: FileOps) -> FileOps:
    """The old name is taken away before the new one is there."""

    def rename(old: str, old_at: int, new: str, new_at: int) -> None:
        if new in inner.list_folder(new_at):
            inner.unlink(new, new_at)
        inner.rename(old, old_at, new, new_at)

    return Override(inner, rename=rename).fileops


def clean_labels_are_never_dirty(inner: FileOps) -> FileOps:
    """The label goes on promising what is being changed."""

    def setxattr(fd: int, name: str, value: bytes) -> None:
        dirty = value[17:18] == bytes([Content.DIRTY])
        if name != ATTRIBUTE or not dirty or inner.getxattr(fd, name) is None:
            inner.setxattr(fd, name, value)

    return Override(inner, setxattr=setxattr).fileops


@pytest.mark.parametrize(
    ("lie", "scenario", "sync", "what", "first_seed"),
    [
        (data_is_not_synced, "fill_in_order", "commit", "byte", 6),
        (data_is_not_synced, "modify", "lazy", "byte", 6),
        (nothing_else_is_synced, "modify", "lazy", "byte", 0),
        (nothing_else_is_synced, "put_over", "commit", "not (Promise", 0),
        (one_boot_for_ever, "fill_in_order", "lazy", "byte", 0),
        (one_boot_for_ever, "put_over", "lazy", "byte", 0),
        (renames_in_two_steps, "put_over", "lazy", "not (Promise", 23),
        (clean_labels_are_never_dirty, "modify", "lazy", "byte", 0),
    ],
)
def test_a_lie_comes_to_light(
    lie: Callable[[FileOps], FileOps], scenario: str, sync: Sync, what: str, first_seed: int
) -> None:
    """Some crash gives a wrong byte, or loses what was promised.

    ``first_seed`` is one that showed it soon.
    """
    tried = 0
    for seed in range(first_seed, first_seed + 40):
        explorer = Explorer(wrap=lie, most_faults=10, wanted=what)
        explorer.explore(Plan(scenario, seed, sync, 1024, drawn=1, share=0.1))
        if explorer.found:
            return
        tried += explorer.tried
    pytest.fail(f"{tried} crashes did not show it")
