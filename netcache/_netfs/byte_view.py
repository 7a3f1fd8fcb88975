"""Views of the bytes of whatever a caller may pass for a buffer, never a copy."""

from __future__ import annotations

from pickle import PickleBuffer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on


def byte_view(source: Buffer, *, writable: bool = False) -> memoryview:
    """The memory of ``source`` as a one-dimensional view of bytes, which pins it until released.

    ``TypeError`` when it has none, or may not be written where that is wanted; ``BufferError`` when
    its memory is not in one piece in the order of its elements.
    """
    with memoryview(source) as view:
        if writable and view.readonly:
            raise TypeError(f"{type(source).__name__} cannot be written to")
        if not view.c_contiguous:
            raise BufferError(f"the memory of {type(source).__name__} is not contiguous")
        if view.format == "B" and view.ndim == 1:
            return view[:]
    # memoryview.cast knows native formats only; this knows no formats.
    pickle_buffer = PickleBuffer(source)
    try:
        return pickle_buffer.raw()
    finally:
        pickle_buffer.release()
