"""Pages that say whose they are: everything in one follows from its head."""

from __future__ import annotations

import random
import struct

PAGE = 4096
_HEAD = struct.Struct(">8sIIQ")
_MAGIC = b"wacpage\0"


def page(writer: int, number: int, turn: int) -> bytes:
    """The page ``number`` as ``writer`` writes it in its turn ``turn``."""
    head = _HEAD.pack(_MAGIC, writer, number, turn)
    return head + random.Random(head).randbytes(PAGE - len(head))


def first_pages(count: int) -> bytes:
    """A file of ``count`` pages that nobody has written yet."""
    return b"".join(page(0, number, 0) for number in range(count))


def torn_pages(data: bytes, first: int) -> list[int]:
    """The pages of ``data``, which begins with page ``first``, that are not one whole page."""
    torn = []
    for start in range(0, len(data), PAGE):
        found, number = data[start : start + PAGE], first + start // PAGE
        magic, writer, place, turn = _HEAD.unpack_from(found)
        if magic != _MAGIC or place != number or found != page(writer, place, turn):
            torn.append(number)
    return torn
