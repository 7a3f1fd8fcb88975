"""What edits of one resource may show and send: the model of the machine of writable files.

Every version that the server ever had is on record, with who made it.  An *edit* is what the
writers of one dirty file share: its bytes, and all the states that they went through.

Rules:

1. What an edit sends consists of what the server had and of states of the edit, cut at the borders
   of its writes; it never replaces a version that somebody else made after its own base (P7).
2. After an ``fsync`` or ``close`` that succeeded the server has the edit as it was when that began,
   or as it was later (no lost write).
3. When the outcome of an upload of its own is open, an edit may go on from a version of somebody
   else that bears what was sent: it is *blurred* then, and may show those bytes too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from netcache._core.coherency import Version
from netcache.backends.memory import MemoryServer
from tests.support.bytemodel import pattern

B = 4096
THIRD_PARTY = "somebody else"
_TABLES = [bytes((mark << 6) | (byte & 63) for byte in range(256)) for mark in range(4)]


def marked(start: int, length: int, seed: int, mark: int) -> bytes:
    """Bytes that no other mark (1 to 3) can write, and that are never zero."""
    return pattern(start, start + length, seed).translate(_TABLES[mark])


@dataclass(eq=False)
class Edit:
    """The bytes that the writers of one dirty file share."""

    owner: str
    view: bytes
    base: bytes
    users: int = 1
    foreign: bool = False
    doubtful: bool = False
    blurred: bool = False
    may_send: bool = True
    sending: int = 0
    private: bool = False
    states: list[bytes] = field(default_factory=list)
    others: list[bytes] = field(default_factory=list)
    cuts: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.states.append(self.view)

    def become(self, view: bytes, *cuts: int) -> None:
        """A write or a cut made it ``view``."""
        self.view = view
        self.foresee(view, *cuts)

    def foresee(self, view: bytes, *cuts: int) -> None:
        """It may be ``view`` from now on."""
        self.states.append(view)
        self.cuts |= {*cuts, len(view)}

    def written(self, start: int, data: bytes) -> bytes:
        """The view after a write."""
        return self.view[:start].ljust(start, b"\0") + data + self.view[start + len(data) :]

    def stored(self, before: bytes | None, data: bytes) -> bool:
        """Whether it may have made ``data`` of what the server had ``before``; takes notice."""
        if not self.may_send or (self.foreign and not self.blurred):
            return False
        if self.private and not self.sending:
            return False
        sizes = {len(state) for state in self.states}
        former = before or b""
        if len(data) not in sizes and not len(former) <= len(data) <= max(sizes):
            return False
        if not self._consists(data, [former, *self.states], len(former)):
            return False
        self.base = data
        return True

    def somebody_stored(self, data: bytes | None) -> None:
        """Another one changed the resource."""
        self.foreign = True
        if self.doubtful:
            self.blurred = True
        if data is not None:
            self.others.append(data)

    def shows(self, start: int, length: int, data: bytes) -> bool:
        """Whether a read at ``start`` may give ``data``."""
        if not self.blurred:
            return data == self.view[start : start + length]
        padded = bytes(start) + data
        return self._consists(padded, [self.view, *self.others], start, first=start)

    def arrived(self, data: bytes | None, since: int) -> bool:
        """Whether the server's ``data`` bear what the edit was from its state ``since`` on."""
        if self.foreign:
            return self.blurred or self.view == self.base
        return data is not None and self._consists(data, self.states[since:], len(data))

    def _consists(self, data: bytes, parts: Iterable[bytes], *cuts: int, first: int = 0) -> bool:
        """Whether each run of ``data`` between two borders is that of one of ``parts``."""
        known = list(dict.fromkeys(parts))
        if not first and data in known:
            return True
        end = max(first, len(data))
        borders = set({*self.cuts, *cuts} | {len(one) for one in known})
        borders |= {*range(0, end, B), first, end}
        inside = sorted(cut for cut in borders if first <= cut <= end)
        for low, high in itertools.pairwise(inside):
            run = data[low:high]
            if not any(run == one[low:high].ljust(high - low, b"\0") for one in known):
                return False
        return True


class Hub(MemoryServer):
    """The server: keeps every version there was, and tells ``on_store`` of each."""

    def __init__(self, url: str, *, updates: bool, tells_versions: bool) -> None:
        super().__init__(updates=updates, tells_versions=tells_versions)
        self.url = url
        self.log: list[bytes | None] = [None]
        self.on_store: Callable[[str, bytes | None, bytes | None], None] = lambda *_: None

    @property
    def data(self) -> bytes | None:
        """What is there."""
        return self.log[-1]

    def store_as(self, actor: str, data: bytes | None) -> Version | None:
        """Let ``actor`` make ``data`` the resource, or delete it."""
        before = self.data
        version = None
        if data is None:
            self.files.pop(self.url, None)
        else:
            version = super().store(self.url, data)
        self.log.append(data)
        self.on_store(actor, before, data)
        return version


class Seat(MemoryServer):
    """The hub as one client sees it: with orders for its requests alone, and its name on them."""

    def __init__(self, hub: Hub, name: str) -> None:
        super().__init__(updates=hub.updates, tells_versions=hub.tells_versions)
        self.files, self.folders, self.requests = hub.files, hub.folders, hub.requests
        self.name = name
        self._hub = hub

    def store(self, url: str, data: bytes, mtime_s: float | None = None) -> Version:
        """See ``MemoryServer``."""
        assert url == self._hub.url
        version = self._hub.store_as(self.name, data)
        assert version is not None
        return version
