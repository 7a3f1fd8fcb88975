"""An origin that swaps its object at any moment, and misbehaves in every way it knows.

It is the bundled server, whose fault plan is drawn anew for each request.  Each version's bytes are
a function of the version and the offset: eight bytes a word, half of them the version's number, so
that a mixture of versions shows in any few bytes.

Swaps are atomic (a link put in the place of another), and a version that comes back is the same
file: the same validators, the same bytes.  Some are touches: another file with the same bytes, of
another time and tag.  They happen before a request is judged, and while it is answered (a few turns
of the server's loop later).

``seed`` decides, as long as one reader asks at a time (what is read ahead comes when it comes).
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netcache_server import FaultRule, Faults, ServerOptions, ServerThread
from netcache_server.faults import NO_EFFECTS, Effects
from netcache_server.shaping import FILLER

WORD_BYTES = 8
NAME, MIRROR = "object", "mirror"
SIZES = (200_000, 200_000, 200_000, 199_992, 131_072, 40_000, 4096, 100)
"""Most versions have one size, so that a size alone does not tell them apart."""
VERSIONS = 24
FIRST_MTIME_S = 1_600_000_000
FILLER_BYTES = 16

MISBEHAVIOURS: dict[str, dict[str, Any]] = {
    "latency": {"latency_s": 0.002},
    "far": {"latency_s": 0.012},
    "refuse": {"refuse": True},
    "lose_reply": {"lose_reply": True},
    **{
        f"status_{status}": {"status": status}
        for status in (304, 400, 403, 404, 408, 410, 412, 416, 429, 500, 502, 503, 504)
    },
    "retry_after": {"status": 503, "retry_after": "0"},
    "redirect": {"redirect": f"/{MIRROR}"},
    "redirect_307": {"redirect": f"/{MIRROR}", "redirect_status": 307},
    "redirect_loop": {"redirect": "{path}"},
    "shifted": {"content_range": "shifted"},
    "wrong_total": {"content_range": "wrong_total"},
    "unknown_total": {"content_range": "unknown_total"},
    "no_content_range": {"content_range": "missing"},
    "ignore_range": {"ignore_range": True},
    "etag_random": {"etag": "random"},
    "etag_same": {"etag": '"same"'},
    "weak": {"validator": "weak"},
    "no_validator": {"validator": "none"},
    "date_only": {"validator": "last_modified_only"},
    "etag_only": {"validator": "etag_only"},
    "omit_date": {"omit_date": True},
    "weak_date": {"validator": "last_modified_only", "omit_date": True},
    "no_digest": {"remove_headers": ("Repr-Digest",)},
    "false_digest": {"headers": {"Repr-Digest": f"sha-256=:{'A' * 43}=:"}},
    "no_length": {"remove_headers": ("Content-Length",)},
    "no_accept_ranges": {"headers": {"Accept-Ranges": "none"}},
    "long": {"body": "long"},
    "short": {"body": "short"},
    "long_declared": {"body": "long_declared", "body_delta": FILLER_BYTES},
    "short_declared": {"body": "short_declared"},
    "inverted": {"content": "inverted"},
    "gzip": {"content_encoding": "gzip"},
    "bandwidth": {"bandwidth": 20_000_000.0},
    "cut": {"cut_after": 5000},
    "cut_at_once": {"cut_after": 0},
    "reset": {"cut_after": 9000, "reset": True},
    "stall": {"stall_after": 3000, "stall_s": 0.01},
    "stall_for_ever": {"stall_after": 3000},
}
"""What an answer may suffer, by name; the fields are those of the server's ``FaultRule``."""

RARE = frozenset({"stall_for_ever", "far", "bandwidth", "status_429", "redirect_loop"})
"""What costs time: drawn a tenth as often."""

LIES_TO_MANY = frozenset({"etag_same"})
"""What two readers who begin at the same time cannot notice: two versions of one strong validator,
both sent before the origin denies either."""


def content_of(version: int, size: int) -> bytes:
    """The bytes of a version."""
    words = array("Q", ((version << 32) | index for index in range(size // WORD_BYTES + 1)))
    words.byteswap()
    return words.tobytes()[:size]


class ChaosFaults(Faults):
    """Draws the effects of each request, and swaps; on the server's loop."""

    def __init__(self, origin: ChaosOrigin) -> None:
        super().__init__()
        self._origin = origin

    def hit(self, method: str, path: str, has_range: bool) -> tuple[Effects, tuple[str, ...]]:
        """The effects on a request, drawn; the object may be swapped now or a little later."""
        return self._origin.draw()


class ChaosServer(ServerThread):
    """The bundled server with ``ChaosFaults``."""

    def __init__(self, options: ServerOptions, origin: ChaosOrigin) -> None:
        super().__init__(options)
        self._server.faults = ChaosFaults(origin)


class ChaosOrigin:
    """The served object, its versions, and what is done to requests.

    ``faulty`` is the probability of a misbehaviour, ``restless`` of a swap, for each request;
    ``touching`` is the share of swaps that change no byte.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        faulty: float = 0.2,
        restless: float = 0.05,
        touching: float = 0.2,
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.drawn: Counter[str] = Counter()
        self.requests = 0
        self.swaps = 0
        self.faulty, self.restless, self.touching = faulty, restless, touching
        self.contents = [
            content_of(version, SIZES[version % len(SIZES)]) for version in range(VERSIONS)
        ]
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._names = [name for name in MISBEHAVIOURS if name not in without]
        self._weights = [1 if name in RARE else 10 for name in self._names]
        self._effects = {name: _effects(name) for name in self._names}
        self._links = 0
        self._current = dict.fromkeys((NAME, MIRROR), 0)
        self._versions = folder / "versions"
        self._www = folder / "www"
        self._versions.mkdir(parents=True)
        self._www.mkdir()
        for version, content in enumerate(self.contents):
            path = self._versions / str(version)
            path.write_bytes(content)
            os.utime(path, (FIRST_MTIME_S + version, FIRST_MTIME_S + version))
        self.swap()
        self.server = ChaosServer(ServerOptions(root=self._www, fsync=False, read_only=True), self)

    @property
    def url(self) -> str:
        """The URL of the object."""
        return self.server.url + NAME

    def swap(self) -> None:
        """Put another version (or the same) in place, here and in the mirror."""
        with self._lock:
            self._swap()

    def _swap(self) -> None:
        self.swaps += 1
        for name in (NAME, MIRROR):
            private = self._www / f".{name}.{self._links}"
            self._links += 1
            if self._random.random() < self.touching:
                private.write_bytes(self.contents[self._current[name]])
                mtime_s = FIRST_MTIME_S + VERSIONS + self._links
                os.utime(private, (mtime_s, mtime_s))
            else:
                version = self._current[name] = self._random.randrange(VERSIONS)
                os.link(self._versions / str(version), private)
            os.replace(private, self._www / name)
            # A rename onto another link of the same file leaves both names.
            private.unlink(missing_ok=True)

    def draw(self) -> tuple[Effects, tuple[str, ...]]:
        """What is done to the request that has just come."""
        with self._lock:
            self.requests += 1
            if self._random.random() < self.restless:
                turns = self._random.choice((0, 0, 1, 2, 5, 20))
                _in_turns(turns, self._swap if not turns else self.swap)
            if self._random.random() >= self.faulty:
                return NO_EFFECTS, ()
            (name,) = self._random.choices(self._names, self._weights)
            self.drawn[name] += 1
            return self._effects[name], (name,)

    def explains(self, version: int, size: int, start: int, data: bytes) -> bool:
        """Whether ``data`` at ``start`` is of ``version``, as a server may have told it.

        A response that claims to be whole, and is too short or too long, cannot be told from a
        version of that size (``size`` is what the reader was shown); nor can inverted bytes.
        """
        expected = self.contents[version]
        expected += FILLER * max(0, min(size - len(expected), FILLER_BYTES))
        expected = expected[start : start + len(data)]
        if data == expected:
            return True
        return len(data) == len(expected) and all(
            found in (byte, 255 - byte) for found, byte in zip(data, expected, strict=True)
        )


def _effects(name: str) -> Effects:
    return FaultRule(**MISBEHAVIOURS[name])


def _in_turns(turns: int, work: Callable[[], None]) -> None:
    """Do ``work`` after so many turns of the loop."""
    if not turns:
        work()
        return
    asyncio.get_running_loop().call_soon(_in_turns, turns - 1, work)
