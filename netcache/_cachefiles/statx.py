"""System calls through ctypes: ``statx`` and ``fallocate``, which Python does not have, and
``fgetxattr``, which it calls twice for anything longer than 128 bytes."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple

_EMPTY_PATH = 0x1000
_BASIC = 0x7FF
_BTIME = 0x800
_MNT_ID_UNIQUE = 0x4000
ATTRIBUTE_BYTES_MAX = 4096
_BUFFER_BYTES = 4096


_TOLD = struct.Struct("=I16xI4xH2xQQ16xq8xqI52xQ")
"""What is told at all (``stx_mask``), owner, mode, inode number, size, time of the last access in
s, time of birth in s and ns, the id of the mount."""


class Identity(NamedTuple):
    """Which file an open one is: what decides whether its label may be believed.

    ``used_s`` is the time of the last access in whole seconds; ``born_ns`` and ``mount`` are 0
    where they are not told.
    """

    mode: int
    owner: int
    inode: int
    size: int
    used_s: int
    born_ns: int
    mount: int


class _Buffer(threading.local):
    """Where the kernel writes its answer: one for each thread, for making one costs a call.

    ``both`` are the pointer that C is given, and what Python reads.
    """

    def __init__(self) -> None:
        memory = ctypes.create_string_buffer(_BUFFER_BYTES)
        self.both = ctypes.c_void_p(ctypes.addressof(memory)), memoryview(memory).cast("B")


_buffer = _Buffer()


def _failed() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _bind() -> tuple[
    Callable[[int], Identity] | None,
    Callable[[int, bytes], bytes] | None,
    Callable[..., int] | None,
]:
    if sys.platform != "linux":
        return None, None, None
    libc = ctypes.CDLL(None, use_errno=True)
    # No ``argtypes``: to convert four arguments takes half as long as the call.  They are what C
    # expects as they are, where ``int`` and ``bytes`` do not say it.
    get = libc.fgetxattr
    get.restype = ctypes.c_ssize_t
    most = ctypes.c_size_t(ATTRIBUTE_BYTES_MAX)

    def fgetxattr(fd: int, name: bytes) -> bytes:
        """The attribute; ``ERANGE`` when it is longer than ``ATTRIBUTE_BYTES_MAX``."""
        pointer, view = _buffer.both
        length = get(fd, name, pointer, most)
        if length < 0:
            raise _failed()
        return view[:length].tobytes()

    call = getattr(libc, "statx", None)
    if call is None:
        return None, fgetxattr, libc.fallocate
    mask = ctypes.c_uint(_BASIC | _BTIME | _MNT_ID_UNIQUE)
    unpack, new = _TOLD.unpack_from, tuple.__new__

    def statx(fd: int) -> Identity:
        """Which file it is."""
        pointer, view = _buffer.both
        if call(fd, b"", _EMPTY_PATH, mask, pointer):
            raise _failed()
        told, owner, mode, inode, size, used_s, born_s, born_ns, mount = unpack(view)
        born_ns = born_s * 1_000_000_000 + born_ns if told & _BTIME else 0
        mount = mount if told & _MNT_ID_UNIQUE else 0
        return new(Identity, (mode, owner, inode, size, used_s, born_ns, mount))

    return statx, fgetxattr, libc.fallocate


statx, fgetxattr, _fallocate = _bind()


def fallocate(fd: int, mode: int, start: int, length: int) -> None:
    """``fallocate(2)``; raises ``OSError``."""
    if _fallocate is None:
        raise OSError(95, "no fallocate on this system")
    if _fallocate(fd, mode, ctypes.c_int64(start), ctypes.c_int64(length)):
        raise _failed()
