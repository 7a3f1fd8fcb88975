"""System calls through ctypes: ``statx`` and ``fallocate``, which Python does not have, and
``fgetxattr``, which it calls twice for anything longer than 128 bytes."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import threading
from collections.abc import Callable

_EMPTY_PATH = 0x1000
_BTIME = 0x800
_MNT_ID_UNIQUE = 0x4000
ATTRIBUTE_BYTES_MAX = 4096
_BUFFER_BYTES = 4096


_TOLD = struct.Struct("=I76xqI52xQ")
"""What is told at all (``stx_mask``), the time of birth in s and ns, the id of the mount."""


class _Buffer(threading.local):
    """Where the kernel writes its answer: one for each thread, for making one costs a call."""

    def __init__(self) -> None:
        self.memory = ctypes.create_string_buffer(_BUFFER_BYTES)
        self.address = ctypes.addressof(self.memory)


_buffer = _Buffer()


def _failed() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _bind() -> tuple[
    Callable[[int], tuple[int, int]] | None,
    Callable[[int, bytes], bytes] | None,
    Callable[..., int] | None,
]:
    if sys.platform != "linux":
        return None, None, None
    libc = ctypes.CDLL(None, use_errno=True)
    get = libc.fgetxattr
    get.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
    get.restype = ctypes.c_ssize_t

    def fgetxattr(fd: int, name: bytes) -> bytes:
        """The attribute; ``ERANGE`` when it is longer than ``ATTRIBUTE_BYTES_MAX``."""
        buffer = _buffer
        length = get(fd, name, buffer.address, ATTRIBUTE_BYTES_MAX)
        if length < 0:
            raise _failed()
        return ctypes.string_at(buffer.address, length)

    call = getattr(libc, "statx", None)
    if call is None:
        return None, fgetxattr, libc.fallocate
    call.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_void_p,
    )
    mask = _BTIME | _MNT_ID_UNIQUE

    def statx(fd: int) -> tuple[int, int]:
        """Birth time in ns, unique mount id; 0 for what is not told."""
        buffer = _buffer
        if call(fd, b"", _EMPTY_PATH, mask, buffer.address):
            raise _failed()
        told, born_s, born_ns, mount = _TOLD.unpack_from(buffer.memory)
        return (
            born_s * 1_000_000_000 + born_ns if told & _BTIME else 0,
            mount if told & _MNT_ID_UNIQUE else 0,
        )

    return statx, fgetxattr, libc.fallocate


statx, fgetxattr, _fallocate = _bind()


def fallocate(fd: int, mode: int, start: int, length: int) -> None:
    """``fallocate(2)``; raises ``OSError``."""
    if _fallocate is None:
        raise OSError(95, "no fallocate on this system")
    if _fallocate(fd, mode, ctypes.c_int64(start), ctypes.c_int64(length)):
        raise _failed()
