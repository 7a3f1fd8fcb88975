"""A bounded number of workers on one stream of items."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


async def in_parallel(
    items: Iterable[T], work: Callable[[T], Awaitable[None]], worker_count: int
) -> None:
    """Do ``work`` on each item, ``worker_count`` at a time; the first error ends it all."""
    shared = iter(items)

    async def worker() -> None:
        for item in shared:
            await work(item)

    with single_errors():
        async with asyncio.TaskGroup() as group:
            for _ in range(worker_count):
                group.create_task(worker())


@contextmanager
def single_errors() -> Iterator[None]:
    """Turn the group of errors that a task group raises into the first of them."""
    try:
        yield
    except BaseExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from first.__cause__
