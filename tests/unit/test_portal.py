"""The portal: coroutines that run on a client's loop for threads that wait."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from netcache._client.portal import Portal
from netcache.errors import ClosedError


@pytest.fixture
def portal() -> Iterator[Portal]:
    """An open one."""
    portal = Portal()
    yield portal
    portal.close()


async def one() -> int:
    """Nothing much."""
    return 1


async def failing(error: BaseException) -> None:
    """What goes wrong."""
    raise error


def test_many_threads_have_each_their_own_answer(portal: Portal) -> None:
    """Whatever the order in which they end."""

    async def echo(number: int) -> int:
        for _ in range(number % 7):
            await asyncio.sleep(0)
        return number

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda n: portal.run(echo(n)), range(200))) == list(range(200))


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_an_error_is_the_callers_and_the_loop_goes_on(
    portal: Portal, kind: type[BaseException]
) -> None:
    """Also what asyncio lets end a loop: a caller's own function may raise it there."""
    error = kind("it is so")
    with pytest.raises(kind) as raised:
        portal.run(failing(error))
    assert raised.value is error
    assert portal.run(one()) == 1


def test_an_error_keeps_nothing_of_the_call_alive(portal: Portal) -> None:
    """Neither the coroutine nor the frames behind its traceback, once it is dealt with."""

    class Held:
        pass

    held = Held()
    seen = weakref.ref(held)

    async def hold(what: Held) -> None:
        raise OSError(str(what))

    gc.disable()
    try:
        with pytest.raises(OSError, match="Held"):
            portal.run(hold(held))
        del held
        assert portal.run(one()) == 1
        assert seen() is None
    finally:
        gc.enable()


def test_an_interrupt_cancels_the_work_and_waits_for_its_end(portal: Portal) -> None:
    """What the work does at its end is done when the caller goes on."""
    ended: list[str] = []
    main = threading.get_ident()

    async def wait_for_ever() -> None:
        try:
            signal.pthread_kill(main, signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("in order")

    with pytest.raises(KeyboardInterrupt):
        portal.run(wait_for_ever())
    assert ended == ["in order"]
    assert portal.run(one()) == 1


def test_an_interrupt_that_does_not_wake_the_thread_is_not_lost(portal: Portal) -> None:
    """It comes to another thread, or just before the wait begins: no call is interrupted."""

    ended: list[str] = []

    async def wait_for_long() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 10)
        except BaseException as error:
            ended.append(type(error).__name__)
            raise

    with pytest.raises(KeyboardInterrupt):
        portal.run(wait_for_long())
    assert ended == ["CancelledError"]
    assert portal.run(one()) == 1


def test_an_interrupt_when_the_work_has_ended_waits_for_nothing(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes while the caller is on his way up, and has the lock already."""
    # Who waits all the same fails.
    monkeypatch.setattr("netcache._client.portal._CANCEL_WAIT_S", None)
    main, usual_s = threading.get_ident(), sys.getswitchinterval()

    async def end_and_interrupt() -> None:
        loop = asyncio.get_running_loop()
        end = loop.create_future()

        def both() -> None:
            end.set_result(None)
            # Right behind the end of the work, before another thread is let on.
            loop.call_soon(signal.pthread_kill, main, signal.SIGINT)

        loop.call_soon(both)
        await end

    sys.setswitchinterval(60)
    try:
        with pytest.raises(KeyboardInterrupt):
            portal.run(end_and_interrupt())
    finally:
        sys.setswitchinterval(usual_s)
    assert portal.run(one()) == 1


def test_it_is_not_for_its_own_loop_nor_after_its_end(portal: Portal) -> None:
    """Both would wait for ever; the coroutine is closed, so nobody hears that it never ran."""

    async def inside() -> None:
        portal.run(one())

    with pytest.raises(ClosedError):
        portal.run(inside())
    portal.close()
    with pytest.raises(ClosedError):
        portal.run(one())
    assert "netcache-portal" not in {thread.name for thread in threading.enumerate()}
