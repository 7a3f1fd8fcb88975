"""What an operation costs, counted and not timed: calls into the kernel, calls at all, memory."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from types import FrameType
from typing import Any

KERNEL_MODULES = ("posix", "fcntl")
"""Modules whose functions are system calls (``posix`` also has a few that are not)."""

BY_ADDRESS = {"statx", "fgetxattr", "fallocate"}
"""System calls through ctypes, by the names of the functions around them."""

_OURS = (__file__, contextlib.__file__)

NO_CALLS = {"fspath", "get_terminal_size", "getpid", "urandom"}


class Costs:
    """The calls of one thread."""

    def __init__(self) -> None:
        self.kernel: Counter[str] = Counter()
        self.functions: Counter[str] = Counter()

    @property
    def kernel_calls(self) -> int:
        """How many system calls there were."""
        return self.kernel.total()

    @property
    def python_calls(self) -> int:
        """How many functions written in Python were called."""
        return self.functions.total()


@contextlib.contextmanager
def counted() -> Iterator[Costs]:
    """Count the calls that this thread makes in the block; garbage of others is collected later."""
    costs = Costs()
    thread = threading.get_ident()

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        if threading.get_ident() != thread or frame.f_code.co_filename in _OURS:
            return
        if event == "call":
            name = frame.f_code.co_name
            costs.functions[name] += 1
            if name in BY_ADDRESS and frame.f_globals["__name__"].endswith(".statx"):
                costs.kernel[name] += 1
        elif event == "c_call" and getattr(arg, "__module__", None) in KERNEL_MODULES:
            name = arg.__name__
            costs.kernel.update([] if name in NO_CALLS else [name])

    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()
    sys.setprofile(profile)
    try:
        yield costs
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()


@contextlib.contextmanager
def allocated() -> Iterator[list[int]]:
    """The most memory that was allocated at any time in the block above what was before, bytes."""
    found: list[int] = []
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield found
        _, peak = tracemalloc.get_traced_memory()
        found.append(peak - before)
    finally:
        tracemalloc.stop()
