"""The channel between a process and its hands, over real sockets."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from netcache._client.crew.at_work import failure
from netcache._client.crew.channel import Channel
from netcache._client.crew.messages import Failed, Message, Ready, Returned, Warned
from netcache.errors import AccessDeniedError, NetCacheError, NotFoundError, StaleError


class End:
    """One end of a channel, and what it has heard."""

    def __init__(self, *, hold_s: float = 0.0) -> None:
        self.frames: list[list[Message]] = []
        self.heard = asyncio.Event()
        self.ended = asyncio.Event()
        self.channel = Channel(self._hear, self.ended.set, hold_s=hold_s)

    def _hear(self, messages: list[Message]) -> None:
        self.frames.append(messages)
        self.heard.set()


async def two_ends(*, hold_s: float = 0.0) -> tuple[End, End]:
    """Both ends of an open channel."""
    ends = End(hold_s=hold_s), End()
    for end, sock in zip(ends, socket.socketpair(), strict=True):
        await end.channel.open(sock)
    return ends


async def test_messages_of_one_turn_go_together() -> None:
    """In one frame, in order; those of the next turn in the next."""
    here, there = await two_ends()
    for text in "abc":
        here.channel.send(Warned(text))
    await there.heard.wait()
    there.heard.clear()
    here.channel.send(Ready())
    await there.heard.wait()
    assert there.frames == [[Warned("a"), Warned("b"), Warned("c")], [Ready()]]
    here.channel.close()
    await there.ended.wait()
    there.channel.close()


async def test_large_frames_arrive_whole() -> None:
    """They are larger than what a socket takes or gives at once."""
    here, there = await two_ends()
    texts = ["x" * (3 << 20), "y" * (1 << 20), ""]
    for text in texts:
        here.channel.send(Warned(text))
        here.channel.flush()
    here.channel.end()
    await there.ended.wait()
    assert there.frames == [[Warned(text)] for text in texts]
    for end in (here, there):
        end.channel.close()


async def test_what_was_held_goes_before_the_end() -> None:
    """And the side that heard the end may still speak."""
    here, there = await two_ends(hold_s=3600)
    here.channel.send(Ready())
    here.channel.end()
    await there.ended.wait()
    assert there.frames == [[Ready()]]
    there.channel.send(Warned("late"))
    await here.heard.wait()
    there.channel.close()
    await here.ended.wait()
    here.channel.close()


async def test_nobody_hears_what_is_sent_to_one_who_is_gone() -> None:
    """It is no error."""
    here, there = await two_ends()
    there.channel.close()
    await here.ended.wait()
    for _ in range(3):
        here.channel.send(Ready())
        await asyncio.sleep(0)
    here.channel.close()


class _Untold(OSError):
    """Cannot be pickled: its arguments are not those that it is made with."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("it is not there", url="http://a/b"),
        AccessDeniedError("it may not be read", url="http://a/b"),
        StaleError("it changed"),
        PermissionError(13, "Permission denied", "/a/b"),
        OSError(28, os.strerror(28), "/a", None, "/b"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_errors_travel_as_they_are(error: OSError) -> None:
    """Class, message, URL, number and names."""
    here, there = await two_ends()
    here.channel.send(failure(7, 0, error))
    await there.heard.wait()
    ((told,),) = there.frames
    assert isinstance(told, Failed)
    assert (type(told.error), str(told.error)) == (type(error), str(error))
    for name in ("errno", "strerror", "filename", "filename2", "url", "message"):
        assert getattr(told.error, name, None) == getattr(error, name, None)
    if isinstance(error, NetCacheError):
        assert isinstance(told.error, NetCacheError)
    for end in (here, there):
        end.channel.close()


def test_an_error_that_cannot_travel_is_to_happen_anew() -> None:
    """Where somebody can see it as it is."""
    assert failure(7, 100, _Untold("a", "b")) == Returned(7)
