"""A parser of ``multipart/byteranges`` bodies (RFC 9110 14.6, RFC 2046 5.1.1), fed as bytes come.

Rules:

1. The length of a part's data is known from its head, and behind its last byte the next delimiter
   must stand.  Data in which a delimiter stands is refused: either the part is shorter than its
   head says, or it only looks so, and then asking for single ranges helps.  So no byte of what
   follows a short part is ever passed on.
2. Nothing is ever held but what may be a delimiter, and the head of a part, which has a bound.
3. The result does not depend on where the input is cut.

Pure: it is given callbacks for the heads and the data of parts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum, auto

from netcache.errors import NotOfferedError, RemoteProtocolError

__all__ = ["MultipartParser", "boundary_of"]

HEAD_BYTES_MAX = 8192
"""How long the head of a part may be, and what stands before the first and after the last."""
_PADDING_BYTES_MAX = 64
_BOUNDARY = re.compile(
    r"""multipart/byteranges\s*;(?:.*;)?\s*boundary=(?:"([^"\\\r\n]{1,70})"|([^\s";,]{1,70})(?=\s*(?:;|$)))""",
    re.IGNORECASE,
)
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CRLF = b"\r\n"


def boundary_of(content_type: str | None) -> bytes | None:
    """The boundary that a ``Content-Type`` names; None when it is not of several byte ranges."""
    found = _BOUNDARY.match((content_type or "").strip())
    if found is None:
        return None
    text: str = found[1] or found[2]
    return None if text.endswith(" ") else text.encode("latin-1", "replace")


class _State(Enum):
    PREAMBLE = auto()
    HEAD = auto()
    DATA = auto()
    DELIMITER = auto()
    EPILOGUE = auto()


class MultipartParser:
    """Takes a body piece by piece.

    ``begin`` gets the fields of a part's head (names in lower case) and returns how many bytes of
    data follow, at least one; ``take`` gets these bytes, in views that are valid during the call.
    An exception from either comes out of ``feed`` and ends the parsing.
    """

    def __init__(
        self,
        boundary: bytes,
        begin: Callable[[Mapping[str, str]], int],
        take: Callable[[memoryview], None],
    ) -> None:
        self._begin = begin
        self._take = take
        delimiter = _CRLF + b"--" + boundary
        self._inside = re.compile(re.escape(delimiter))
        self._tail_bytes = len(delimiter) - 1
        self._tail = b""
        # A delimiter's own line break may be the first bytes of the body, or be missing there.
        self._delimiter = re.compile(re.escape(delimiter) + rb"(?:(--)|[ \t]*\r\n)")
        self._delimiter_bytes_max = len(delimiter) + _PADDING_BYTES_MAX
        self._state = _State.PREAMBLE
        self._held = bytearray(_CRLF)
        self._left = 0
        self._epilogue_bytes = 0

    @property
    def complete(self) -> bool:
        """Whether the closing delimiter has come."""
        return self._state is _State.EPILOGUE

    @property
    def held_bytes(self) -> int:
        """How much of the input is kept until more of it comes."""
        return len(self._held) + len(self._tail)

    def feed(self, data: bytes | memoryview) -> None:
        """The next bytes of the body.

        Raises ``RemoteProtocolError`` for what is malformed, ``NotOfferedError`` for parts that
        cannot be told apart.
        """
        rest = memoryview(data)
        while len(rest):
            match self._state:
                case _State.DATA:
                    rest = self._pass_on(rest)
                case _State.EPILOGUE:
                    self._epilogue_bytes += len(rest)
                    if self._epilogue_bytes > HEAD_BYTES_MAX:
                        raise _wrong("more follows after its last part")
                    return
                case _:
                    rest = self._hold(rest)

    def _pass_on(self, rest: memoryview) -> memoryview:
        now, rest = rest[: self._left], rest[self._left :]
        self._left -= len(now)
        if not self._left:
            self._state = _State.DELIMITER
        seam = self._tail + bytes(now[: self._tail_bytes])
        if self._inside.search(seam) or self._inside.search(now):
            raise NotOfferedError("a body of several parts has a delimiter inside a part")
        # The end of what has come may be the beginning of a delimiter: it is held.
        if len(now) >= self._tail_bytes:
            self._give(self._tail)
            self._give(now[: -self._tail_bytes])
            self._tail = bytes(now[-self._tail_bytes :])
        else:
            self._give(seam[: -self._tail_bytes])
            self._tail = seam[-self._tail_bytes :]
        return rest

    def _give(self, data: bytes | memoryview) -> None:
        if len(data):
            self._take(memoryview(data))

    def _hold(self, rest: memoryview) -> memoryview:
        """Put bytes to those held until what is waited for is there; return what is behind it."""
        held_before = len(self._held)
        room = self._held_max() - held_before
        self._held += rest[:room]
        end = self._step()
        if end is not None:
            # It was not there before, so it ends in what has just been added.
            return rest[end - held_before :]
        if len(rest) >= room:
            raise _wrong(f"no end of its {self._state.name.lower()} within {len(self._held)} bytes")
        return rest[room:]

    def _held_max(self) -> int:
        return self._delimiter_bytes_max if self._state is _State.DELIMITER else HEAD_BYTES_MAX

    def _step(self) -> int | None:
        """Go on to the next state if what is held suffices; returns how much of it that took."""
        if self._state is _State.HEAD:
            found = self._held.find(_CRLF + _CRLF)
            if found < 0:
                return None
            fields = _fields(bytes(self._held[:found]))
            self._held.clear()
            self._state = _State.DATA
            self._left = self._begin(fields)
            return found + 4
        if self._state is _State.PREAMBLE:
            delimiter = self._delimiter.search(self._held)
        else:
            delimiter = self._delimiter.match(self._held)
        if delimiter is None:
            return None
        closing, end = delimiter[1] is not None, delimiter.end()
        tail, self._tail = self._tail, b""
        self._give(tail)
        self._held.clear()
        if closing:
            self._state = _State.EPILOGUE
        else:
            self._state = _State.HEAD
            # A head without a field ends with the line break that ends the delimiter.
            self._held += _CRLF
        return end


def _fields(block: bytes) -> dict[str, str]:
    """The fields of a part's head; names in lower case."""
    fields: dict[str, str] = {}
    for line in block.decode("latin-1").split("\r\n"):
        if not line:
            continue
        name, colon, value = line.partition(":")
        if not colon or _FIELD_NAME.fullmatch(name) is None:
            raise _wrong("the head of a part is malformed")
        name = name.lower()
        if name in fields:
            raise _wrong(f"the head of a part has two fields {name!r}")
        fields[name] = value.strip()
    return fields


def _wrong(why: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"a body of several parts is malformed: {why}")
