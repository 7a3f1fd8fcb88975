"""Readers of the chaos origin, and the proof that each open file showed one version."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netcache
from netcache.sync import Client, File
from tests.chaos.origin import WORD_BYTES, ChaosOrigin

FILES_MAX = 4
LENGTH_MAX = 20_000
AROUND_BYTES = 210_000
"""Reads begin below this: a little more than the largest version has."""

KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"readahead": 0},
    {"validate": "always"},
    {"validate": 0.02, "verify": "read"},
    {"use_cache": False, "readahead": "64KiB"},
    {"retries": 2, "validate": "open"},
    {"cache_size": 400_000},
)
"""How clients differ; all of them but those without a cache share one cache directory."""


class MixtureError(AssertionError):
    """A file showed bytes that are not of the version that it had shown before."""


class Shown:
    """What one open file has shown: the version, once there was a byte of it."""

    def __init__(self, origin: ChaosOrigin) -> None:
        self._origin = origin
        self.version: int | None = None

    def check(self, start: int, data: bytes, size: int) -> None:
        """``data`` was read at ``start`` of a file of ``size`` bytes.  Raises ``MixtureError``."""
        if self.version is None:
            self.version = self._identify(start, data)
        if self.version is None or not data:
            return
        if not self._origin.explains(self.version, size, start, data):
            raise MixtureError(
                f"{len(data)} bytes at {start} are not of version {self.version} "
                f"(size {size}): {data[:32].hex()}..., versions {self._versions_in(start, data)}"
            )

    def _identify(self, start: int, data: bytes) -> int | None:
        """The version that the first whole word tells, its bits turned over or not."""
        for version in self._versions_in(start, data):
            if version < len(self._origin.contents):
                return version
            if ~version & 0xFFFFFFFF < len(self._origin.contents):
                return ~version & 0xFFFFFFFF
        return None

    @staticmethod
    def _versions_in(start: int, data: bytes) -> list[int]:
        """The numbers in the words of ``data``, each once, in order."""
        first = -start % WORD_BYTES
        places = range(first, len(data) - WORD_BYTES + 1, WORD_BYTES)
        return list(
            dict.fromkeys(int.from_bytes(data[place : place + 4], "big") for place in places)
        )


class ChaosReader:
    """One reader: a client and a few open files, used at random.  One thread at a time."""

    def __init__(self, origin: ChaosOrigin, cache_dir: Path, seed: int, kind: int) -> None:
        self.counts: Counter[str] = Counter()
        self._origin = origin
        self._cache_dir = cache_dir
        self._random = random.Random(seed)
        self._kind = kind
        self._client = self._new_client()
        self._files: list[tuple[File, Shown]] = []

    def run(self, reads: int, go_on: Callable[[], bool] = lambda: True) -> None:
        """Do ``reads`` reads, and what else readers do; stops when ``go_on`` says so."""
        while self.counts["reads"] < reads and go_on():
            self._step()

    def close(self) -> None:
        """Close the files and the client."""
        while self._files:
            self._close_file(0)
        self.counts["kept over a touch"] += self._client.stats()["Updates"]["same"]
        self._client.close()

    def _step(self) -> None:
        draw = self._random.random()
        if not self._files or draw < 0.06:
            self._open()
        elif draw < 0.99:
            self._read(*self._random.choice(self._files))
        elif draw < 0.994:
            self._origin.swap()
        elif draw < 0.9985:
            self._tidy()
        else:
            self._renew()

    def _open(self) -> None:
        if len(self._files) >= FILES_MAX:
            self._close_file(self._random.randrange(FILES_MAX))
        if self._random.random() < 0.4:
            # What is cached as a whole may outlive its validator.
            with contextlib.suppress(netcache.NetCacheError):
                self._client.warm(self._origin.url)
        file = self._client.open(self._origin.url)
        self._files.append((file, Shown(self._origin)))
        self.counts["files"] += 1

    def _close_file(self, index: int) -> None:
        file, shown = self._files.pop(index)
        self.counts["shown"] += shown.version is not None
        file.close()

    def _read(self, file: File, shown: Shown) -> None:
        self.counts["reads"] += 1
        start = self._random.randrange(AROUND_BYTES)
        length = self._random.choice((1, 8, 100, 4096, self._random.randrange(LENGTH_MAX)))
        way = self._random.choice(("pread", "pread", "pread", "preadinto", "view"))
        try:
            if way == "pread":
                data = file.pread(length, start)
            elif way == "preadinto":
                buffer = bytearray(length)
                data = bytes(buffer[: file.preadinto(buffer, start)])
            else:
                data = bytes(file.view(start, length))
            size = start + len(data) if len(data) == length else file.size
        except netcache.NetCacheError as error:
            self.counts[type(error).__name__] += 1
            return
        self.counts["answered"] += 1
        shown.check(start, data, size)
        if len(data) != max(0, min(start + length, size) - start):
            raise MixtureError(f"{len(data)} of {length} bytes at {start} of {size} were read")

    def _tidy(self) -> None:
        """Forget the object, or make room, behind the back of all readers."""
        if self._client_has_no_cache:
            return
        admin = self._client.cache
        self._random.choice(
            (lambda: admin.drop(self._origin.url), lambda: admin.cull(0), admin.clear)
        )()
        self.counts["tidied"] += 1

    @property
    def _client_has_no_cache(self) -> bool:
        return KINDS[self._kind].get("use_cache") is False

    def _renew(self) -> None:
        """Go on with another kind of client: what is cached stays, what is remembered goes."""
        self.close()
        self._kind = self._random.randrange(len(KINDS))
        self._client = self._new_client()
        self.counts["clients"] += 1

    def _new_client(self) -> Client:
        options: dict[str, Any] = {"retries": 0, "timeout": 0.5, "readahead": "64KiB"}
        return Client(cache_dir=self._cache_dir, **(options | KINDS[self._kind]))
