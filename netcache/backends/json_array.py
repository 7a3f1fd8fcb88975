"""JSON arrays, read element by element, so that memory holds one of them at a time.  Pure.

``json.loads`` makes objects of up to 25 times the size of their text before anybody can look at
the first of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["ELEMENT_BYTES_MAX", "elements_of"]

ELEMENT_BYTES_MAX = 64 * 1024
"""No element, and no space between two of them, is longer."""

_BEGIN = re.compile(rb"[ \t\n\r]*\[")
_BETWEEN = re.compile(r"[ \t\n\r]*([,\]]?)[ \t\n\r]*")
_END = re.compile(rb"[ \t\n\r]*\Z")
_DECODER = json.JSONDecoder()


def elements_of(body: bytes) -> Iterator[Any]:
    """The elements of the array that is ``body``; bytes that are not UTF-8 become surrogates.

    Raises ``ValueError`` (also when it is no array) or ``RecursionError``, possibly after elements.
    """
    begin = _BEGIN.match(body)
    if begin is None:
        raise ValueError("it is no array")
    start, is_first = begin.end(), True
    while True:
        window = body[start : start + ELEMENT_BYTES_MAX].decode("utf-8", "surrogateescape")
        taken = 0
        while True:
            between = _BETWEEN.match(window, taken)
            assert between is not None
            if between[1] == "]":
                _require_nothing_more(body, start + _size(window[: between.end()]))
                return
            if is_first == (between[1] == ","):
                break
            try:
                item, taken = _DECODER.raw_decode(window, between.end())
            except json.JSONDecodeError:
                # It may only be cut off by the end of the window.
                break
            is_first = False
            yield item
        if taken == 0:
            is_cut = start + ELEMENT_BYTES_MAX < len(body)
            too_long = f"an element has more than {ELEMENT_BYTES_MAX} bytes, or is malformed"
            raise ValueError(too_long if is_cut else "it ends early, or an element is malformed")
        start += _size(window[:taken])


def _require_nothing_more(body: bytes, end: int) -> None:
    if _END.match(body, end) is None:
        raise ValueError("something follows the array")


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))
