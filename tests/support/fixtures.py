"""The pytest fixtures of the store's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netcache._fscache.ports import CacheStore
from tests.support.filesystems import LoopFilesystems, Unavailable, discard

Opener = Callable[..., CacheStore]
"""Binds the test's directory once more, as another process would; takes the options of ``bind``."""


@pytest.fixture(scope="session")
def loop_filesystems() -> Iterator[LoopFilesystems]:
    """All loop-mounted filesystems of the session, mounted on demand, gone at its end."""
    filesystems = LoopFilesystems()
    try:
        yield filesystems
    finally:
        filesystems.close()


@pytest.fixture
def filesystem(request: pytest.FixtureRequest) -> str:
    """The name of the filesystem that a test is parametrised with (indirectly)."""
    name: str = request.param
    return name


@pytest.fixture
def cache_directory(filesystem: str, loop_filesystems: LoopFilesystems) -> Iterator[Path]:
    """A new directory on the filesystem of the test; skips by name where there is none."""
    try:
        directory = loop_filesystems.directory(filesystem)
    except Unavailable as reason:
        pytest.skip(f"no {filesystem}: {reason}")
    try:
        yield directory
    finally:
        discard(directory)


@pytest.fixture
def block_size() -> int | None:
    """The block size that ``store`` is bound with; parametrise it to have another."""
    return None


@pytest.fixture
def store(tmp_path: Path, block_size: int | None) -> Iterator[CacheStore]:
    """A store in the test's own directory."""
    from netcache._cachefiles.store import bind

    bound: CacheStore = bind(tmp_path, block_size=block_size)
    yield bound
    bound.close()


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[Opener]:
    """Binds the test's directory as often as it is called, and closes all of the stores."""
    from netcache._cachefiles.store import bind

    bound: list[CacheStore] = []

    def another(**options: Any) -> CacheStore:
        bound.append(bind(tmp_path, **options))
        return bound[-1]

    yield another
    for one in bound:
        one.close()
