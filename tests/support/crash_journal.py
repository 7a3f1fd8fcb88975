"""The journal of edits on the modelled filesystem: a run is traced, and crashed at each call.

The run works on a real folder.  ``TracedOs`` stands in for the module ``os`` in the journal, does
everything for real but the syncs, and writes down what a crash would have to leave (``crash_ops``).
Each state that a crash may leave is made a real folder again, and a new journal is opened there.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from netcache._core.journal_record import JournalRecord
from netcache._netfs.journal import Journal
from tests.support.crash_content import SECTOR
from tests.support.crash_disk import Disk, Rules
from tests.support.crash_image import Image
from tests.support.crash_ops import (
    ROOT,
    Change,
    Cut,
    Entry,
    Inode,
    Leave,
    Move,
    Note,
    Sync,
    SyncData,
    Write,
)
from tests.support.crash_states import after_kill, after_power_cut, half_done
from tests.support.crash_system import System


class TracedOs:
    """The module ``os`` for one folder, ``root``; what it has not got is the real one's."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.system = System()
        self._inodes: dict[int, int] = {}
        self._positions: dict[int, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _place(self, path: str) -> tuple[int, str]:
        return self.system.parent(os.path.relpath(path, self.root), None)

    def _inode(self, path: str) -> int:
        return self.system.find(*self._place(path))

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        """Log a folder."""
        os.mkdir(path, mode)
        self.system.enter(*self._place(path), self.system.make(folder=True))

    def makedirs(self, path: str, mode: int = 0o777, exist_ok: bool = False) -> None:
        """Log each folder that was not there."""
        if not os.path.isdir(path):
            self.makedirs(os.path.dirname(path), mode, True)
            self.mkdir(path, mode)

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        """Log a file that was not there, or is emptied."""
        new = not os.path.exists(path)
        fd = os.open(path, flags, mode)
        if new:
            self.system.enter(*self._place(path), self.system.make(folder=False))
        elif flags & os.O_TRUNC:
            self.system.do(Cut(self._inode(path), 0))
        self._inodes[fd] = self._inode(path)
        self._positions[fd] = 0
        return fd

    def write(self, fd: int, data: bytes) -> int:
        """Log bytes at the position."""
        count = os.write(fd, data)
        self.system.do(Write(self._inodes[fd], self._positions[fd], data[:count]))
        self._positions[fd] += count
        return count

    def pwrite(self, fd: int, data: bytes, start: int) -> int:
        """Log bytes at a place."""
        self.system.do(Write(self._inodes[fd], start, data))
        return os.pwrite(fd, data, start)

    def fdatasync(self, fd: int) -> None:
        """Only log."""
        self.system.log.append(SyncData(self._inodes[fd]))

    def fsync(self, fd: int) -> None:
        """Only log."""
        self.system.log.append(Sync(self._inodes[fd]))

    def rename(self, old: str, new: str) -> None:
        """Log a move."""
        inode = self._inode(old)
        self.system.do(Move(*self._place(old), *self._place(new), inode))
        os.rename(old, new)

    def unlink(self, path: str) -> None:
        """Log a name that goes."""
        os.unlink(path)
        self.system.do(Leave(*self._place(path), self._inode(path)))

    def rmdir(self, path: str) -> None:
        """Log a folder that goes."""
        os.rmdir(path)
        self.system.do(Leave(*self._place(path), self._inode(path)))


class Kept(NamedTuple):
    """What must be found of an edit: one of ``records`` (None: nothing), and each byte that it says
    is unsent from one of ``texts``: what is written after a flush may tear what was there."""

    records: tuple[JournalRecord | None, ...]
    texts: tuple[bytes, ...]


Promises = dict[str, Kept]


def states(
    traced: TracedOs, chance: random.Random, drawn: int
) -> Iterator[tuple[str, Image, Promises]]:
    """Each distinct state that a crash before any of the calls may leave, and what was promised."""
    live, disks = Image(), [Disk(Image(), rules) for rules in Rules]
    images = [live, *(disk.durable for disk in disks)]
    for number, inode in traced.system.live.inodes.items():
        _know(images, number, inode)
    promises: Promises = {}
    seen: set[tuple[int, str]] = set()
    for index, entry in enumerate([*traced.system.log, None]):
        if isinstance(entry, Note):
            promises = entry.what
            continue
        found = [after_kill(live, half) for half in _half(entry, chance)]
        for disk in disks:
            found += after_power_cut(disk, drawn, chance, 1.0)
        for state in found:
            key = (state.image.fingerprint(), repr(promises))
            if key not in seen:
                seen.add(key)
                yield f"{index} {state.name}", state.image, promises
        if entry is not None:
            for disk in disks:
                disk.feed(entry)
        if isinstance(entry, Change):
            live.apply(entry)


def _half(entry: Entry | None, chance: random.Random) -> list[list[Change]]:
    return [[], half_done(entry, chance)] if isinstance(entry, Write) else [[]]


def _know(images: list[Image], number: int, inode: Inode) -> None:
    for image in images:
        if number != ROOT:
            image.add(inode)


def materialise(image: Image, root: Path, folder: int = ROOT) -> None:
    """Make the state a real folder."""
    root.mkdir()
    for name, number in image.folders[folder].items():
        if number in image.folders:
            materialise(image, root / name, number)
            continue
        content = image.files[number]
        with (root / name).open("wb") as file:
            for sector, data in content.sectors.items():
                file.seek(sector * SECTOR)
                file.write(data[: max(0, content.size - sector * SECTOR)])
            file.truncate(content.size)


def check(root: Path, promises: Promises) -> None:
    """Open the journal as the next process does; raises ``AssertionError``."""
    found = {}
    for entry in Journal(str(root)).orphans():
        try:
            found[entry.name] = entry.load()
            assert entry.name in promises, f"{entry.name} was promised to nobody"
            _check_data(entry.data.read(), found[entry.name], promises[entry.name].texts)
        finally:
            entry.release()
    for name, kept in promises.items():
        assert found.get(name) in kept.records, f"{name}: {found.get(name)}"


def _check_data(data: bytes, record: JournalRecord, texts: tuple[bytes, ...]) -> None:
    for extent in record.dirty:
        assert len(data) >= extent.end, extent
        wrong = [at for at in range(*extent) if data[at] not in {text[at] for text in texts}]
        assert not wrong, (extent, wrong[:3])
