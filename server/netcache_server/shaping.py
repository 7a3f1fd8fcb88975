"""The faults in a body: its bytes, its length, its pace, its end.

``altered`` changes what is sent, ``paced`` says how.  Both are functions from chunks to chunks;
they know neither sockets nor clocks.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from enum import Enum
from typing import NamedTuple

from netcache_server.faults import Effects

_INVERSE = bytes(255 - byte for byte in range(256))
_PACE_BYTES = 64 * 1024
_PACES_A_SECOND = 20
FILLER = b"\x55"
"""What bytes that should not be there are made of."""


class Pause(NamedTuple):
    """Wait so long before the next chunk; ``None`` waits until the client leaves."""

    seconds: float | None


class End(Enum):
    """How a body ends other than by being complete."""

    CUT = "cut"


Step = bytes | Pause | End


def declared_length(length: int, effects: Effects) -> int | None:
    """The Content-Length to send for a body of ``length`` bytes; ``None`` if it is unknown."""
    if effects.content_encoding is not None:
        return None
    if effects.body == "long_declared":
        return length + effects.body_delta
    if effects.body == "short_declared":
        return max(0, length - effects.body_delta)
    return length


async def altered(
    chunks: AsyncIterator[bytes], length: int | None, effects: Effects
) -> AsyncGenerator[bytes, None]:
    """The chunks with their bytes and their number changed as the effects say.

    ``length`` is that of the whole body, ``None`` if unknown (then it is only lengthened).
    """
    left = None
    if effects.body in ("short", "short_declared") and length is not None:
        left = max(0, length - effects.body_delta)
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31) if effects.content_encoding else None
    async for chunk in chunks:
        if left is not None:
            chunk = chunk[:left]
            left -= len(chunk)
        if effects.content == "inverted":
            chunk = chunk.translate(_INVERSE)
        if compressor is not None:
            chunk = compressor.compress(chunk)
        if chunk:
            yield chunk
    if compressor is not None:
        yield compressor.flush()
    if effects.body in ("long", "long_declared"):
        yield FILLER * effects.body_delta


async def paced(chunks: AsyncIterator[bytes], effects: Effects) -> AsyncGenerator[Step, None]:
    """The chunks with the pauses and the end that the effects put between them."""
    sent = 0
    async for chunk in _pieces(chunks, effects):
        if effects.bandwidth is not None and chunk:
            yield Pause(len(chunk) / effects.bandwidth)
        yield chunk
        sent += len(chunk)
        if sent == effects.stall_after:
            yield Pause(effects.stall_s)
        if sent == effects.cut_after:
            yield End.CUT
            return
    if effects.body in ("long", "short"):
        yield End.CUT


async def _pieces(chunks: AsyncIterator[bytes], effects: Effects) -> AsyncGenerator[bytes, None]:
    """Cut the chunks at the places where something happens, and small enough for the pace."""
    marks = sorted(mark for mark in {effects.stall_after, effects.cut_after} if mark is not None)
    largest = None
    if effects.bandwidth is not None:
        largest = max(1, min(_PACE_BYTES, int(effects.bandwidth / _PACES_A_SECOND)))
    position = 0
    if marks and marks[0] == 0:
        yield b""  # so that what happens before the first byte happens
    async for chunk in chunks:
        while chunk:
            ahead = [mark - position for mark in marks if mark > position]
            limits = [len(chunk), *ahead[:1], *([largest] if largest else [])]
            piece, chunk = chunk[: min(limits)], chunk[min(limits) :]
            position += len(piece)
            yield piece
