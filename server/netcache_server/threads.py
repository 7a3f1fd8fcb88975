"""Blocking work in threads, without losing hold of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


async def in_thread(
    pool: Executor,
    function: Callable[Parameters, Result],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Result:
    """Run a function in the pool.

    When the caller is cancelled, the function's end is waited for first: a thread cannot be
    stopped, and the descriptors that it uses must not be closed under it.
    """
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(pool, lambda: function(*args, **kwargs))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise
