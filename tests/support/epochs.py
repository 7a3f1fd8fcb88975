"""The system as it shows itself after a reboot: another boot id, another mount identity."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.support.intercept import Override, methods

if TYPE_CHECKING:
    from netcache._cachefiles.fileops import FileOps


def in_epoch(number: int) -> FileOps:
    """The real system, ``number`` reboots later (0: now)."""
    from netcache._cachefiles.fileops import PosixFileOps

    inner = PosixFileOps()
    names = methods("boot", "mount", "epoch")
    assert names, "the port has no method that tells the epoch"

    def changed(name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            return _later(getattr(inner, name)(*args, **options), number)

        return call

    return Override(inner, **{name: changed(name) for name in names}).fileops


def on_another_mount() -> FileOps:
    """The real system as a process sees it that reaches the directory by another mount."""
    from netcache._cachefiles.fileops import PosixFileOps

    inner = PosixFileOps()
    names = methods("mount")
    assert names

    def changed(name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            return _later(getattr(inner, name)(*args, **options), 1)

        return call

    return Override(inner, **{name: changed(name) for name in names}).fileops


def _later(identity: Any, number: int) -> Any:
    """Another value of the same type."""
    if number == 0 or identity is None or isinstance(identity, bool):
        return identity
    if isinstance(identity, int):
        return identity + number
    if isinstance(identity, str):
        return identity[:-4] + f"{(int(identity[-4:], 16) + number) % 0x10000:04x}"
    if isinstance(identity, bytes):
        return bytes((byte + number) % 256 for byte in identity)
    if isinstance(identity, tuple):
        return tuple(_later(part, number) for part in identity)
    raise AssertionError(f"unknown identity {identity!r}")
