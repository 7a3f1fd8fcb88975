"""Two system calls that Python does not have, through ctypes: ``statx`` and ``fallocate``."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

_EMPTY_PATH = 0x1000
_BTIME = 0x800
_MNT_ID_UNIQUE = 0x4000
_BUFFER_BYTES = 256


def _bind() -> tuple[Callable[[int], tuple[int, int]] | None, Callable[..., int] | None]:
    if sys.platform != "linux":
        return None, None
    libc = ctypes.CDLL(None, use_errno=True)
    call = getattr(libc, "statx", None)
    if call is None:
        return None, libc.fallocate
    buffer_type = ctypes.c_char * _BUFFER_BYTES
    mask = _BTIME | _MNT_ID_UNIQUE

    def statx(fd: int) -> tuple[int, int]:
        """Birth time in ns, unique mount id; 0 for what is not told."""
        buffer = buffer_type()
        if call(fd, b"", _EMPTY_PATH, mask, buffer):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        raw = buffer.raw
        told = int.from_bytes(raw[0:4], sys.byteorder)
        born_s = int.from_bytes(raw[0x50:0x58], sys.byteorder, signed=True)
        born_ns = int.from_bytes(raw[0x58:0x5C], sys.byteorder)
        mount = int.from_bytes(raw[0x90:0x98], sys.byteorder)
        return (
            born_s * 1_000_000_000 + born_ns if told & _BTIME else 0,
            mount if told & _MNT_ID_UNIQUE else 0,
        )

    return statx, libc.fallocate


statx, _fallocate = _bind()


def fallocate(fd: int, mode: int, start: int, length: int) -> None:
    """``fallocate(2)``; raises ``OSError``."""
    if _fallocate is None:
        raise OSError(95, "no fallocate on this system")
    if _fallocate(fd, mode, ctypes.c_int64(start), ctypes.c_int64(length)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
