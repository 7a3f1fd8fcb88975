"""The modelled filesystem is a filesystem: it answers as a real one does, call by call.

And what it says a crash may leave is what it was told: synced is there, pending is any part.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netcache._cachefiles.file_port import FileOps
from netcache._cachefiles.fileops import PosixFileOps
from tests.support.crash_content import SECTOR
from tests.support.crash_disk import Disk, Rules
from tests.support.crash_fileops import CrashFileOps
from tests.support.crash_image import Image
from tests.support.crash_states import after_power_cut
from tests.support.intercept import methods

NAME = "user.test"
BLOCK = 4096
"""The real filesystem's blocks; the model's are smaller, so positions are multiples of these."""


def test_the_model_has_every_system_call_of_the_port() -> None:
    """A call that the port gains has to be modelled: what a crash leaves of it is not known."""
    missing = [name for name in methods("") if not hasattr(CrashFileOps, name)]
    assert missing == []


class Pair:
    """The same calls on a real folder and on a model; the answers have to be the same."""

    def __init__(self, directory: Path) -> None:
        self.model = CrashFileOps()
        self.both: list[FileOps] = [PosixFileOps(), self.model.fileops]
        self.roots = [os.open(directory, os.O_RDONLY), self.model.open_folder("/")]

    def call(self, act: Callable[[FileOps, int], Any]) -> Any:
        """What both say; an error counts by its number."""
        real, modelled = (self._one(act, n) for n in range(2))
        assert real == modelled
        return real

    def _one(self, act: Callable[[FileOps, int], Any], number: int) -> Any:
        try:
            return act(self.both[number], self.roots[number])
        except OSError as error:
            return type(error)


def on(name: str, act: Callable[[FileOps, int], Any]) -> Callable[[FileOps, int], Any]:
    """``act`` on the file called ``name``."""

    def run(ops: FileOps, root: int) -> Any:
        fd = ops.open_file(name, root)
        try:
            return act(ops, fd)
        finally:
            ops.close(fd)

    return run


def seen(*, aligned: bool) -> Callable[[FileOps, int], Any]:
    """All that can be asked of a file.

    Where parts of blocks were written, the model's smaller blocks show: then only which of the
    large blocks have data.
    """

    def ask(ops: FileOps, fd: int) -> tuple[object, ...]:
        buffer = bytearray(12 * BLOCK)
        count = ops.read_into(fd, buffer, 0)
        if aligned:
            places = range(0, 11 * BLOCK, 1000)
            seeks: list[Any] = [(ops.seek_data(fd, at), ops.seek_hole(fd, at)) for at in places]
        else:
            seeks = [0 <= ops.seek_data(fd, at) < at + BLOCK for at in range(0, 11 * BLOCK, BLOCK)]
        found = ops.stat(fd)
        return bytes(buffer[:count]), seeks, found.st_size, found.st_nlink, ops.getxattr(fd, NAME)

    return ask


def act_of(chance: random.Random, *, aligned: bool) -> Callable[[FileOps, int], Any]:
    """A call, on one of a few names."""
    rest = 0 if aligned else chance.randrange(BLOCK)
    name, other = chance.choice("abc"), chance.choice("abcd")
    start, end = sorted(chance.sample(range(9), 2))
    text = chance.randbytes((end - start) * BLOCK - rest)
    kind = chance.randrange(12)
    if kind == 0:
        return lambda ops, root: ops.close(ops.open_new(name, root))
    if kind == 1:
        return lambda ops, root: ops.rename(name, root, other, root)
    if kind == 2:
        return lambda ops, root: ops.unlink(other, root)
    if kind == 3:
        return on(name, lambda ops, fd: ops.truncate(fd, start * BLOCK + rest))
    if kind == 4:
        return on(name, lambda ops, fd: ops.punch_hole(fd, start * BLOCK, (end - start) * BLOCK))
    if kind == 5:
        return on(name, lambda ops, fd: ops.setxattr(fd, NAME, text[:50]))
    if kind == 6:
        return on(name, lambda ops, fd: ops.removexattr(fd, NAME))
    if kind == 7:
        return lambda ops, root: ops.make_folder(other, at=root)
    if kind == 8:
        return lambda ops, root: ops.remove_folder(other, root)
    return on(name, lambda ops, fd: ops.write_all(fd, text, start * BLOCK))


@pytest.mark.parametrize("seed", range(12))
def test_the_model_answers_as_the_real_filesystem_does(tmp_path: Path, seed: int) -> None:
    """Bytes, holes, sizes, links, attributes, names and errors, after any calls."""
    chance, pair, aligned = random.Random(seed), Pair(tmp_path), seed % 2 == 0
    if os.fstatvfs(pair.roots[0]).f_bsize != BLOCK:
        pytest.skip(f"the filesystem of {tmp_path} has other blocks than {BLOCK}")
    pair.call(lambda ops, root: ops.close(ops.open_new("a", root)))
    for _ in range(120):
        pair.call(act_of(chance, aligned=aligned))
        pair.call(lambda ops, root: sorted(ops.list_folder(root)))
        for name in "abcd":
            pair.call(on(name, seen(aligned=aligned)))
    os.close(pair.roots[0])


def test_locks_of_the_model_are_those_of_open_file_descriptions(tmp_path: Path) -> None:
    """Shared with shared, not with exclusive; parts are given back; closing gives all back."""
    pair = Pair(tmp_path)

    def story(ops: FileOps, root: int) -> list[bool]:
        one = ops.open_new("x", root)
        two, three = ops.open_file("x", root), ops.open_again(one)
        told = [ops.lock_range(one, 10, 20), ops.lock_range(two, 15, 1, shared=True)]
        ops.unlock_range(one, 14, 4)
        told += [ops.lock_range(two, 14, 4), ops.lock_range(one, 10, 8)]
        told += [ops.lock_range(two, 14, 4, shared=True), ops.lock_range(one, 14, 4, shared=True)]
        told += [ops.lock_range(three, 12, 1, shared=True)]
        ops.close(one)
        told += [ops.lock_range(two, 0, 100), ops.lock_range(three, 50, 1, shared=True)]
        ops.close(two)
        ops.close(three)
        folder, again = (ops.open_folder(".", at=root) for _ in range(2))
        told += [ops.lock_folder(folder), ops.lock_folder(again)]
        ops.unlock_folder(folder)
        told += [ops.lock_folder(again)]
        ops.close(folder)
        ops.close(again)
        return told

    assert False in pair.call(story)


# What a crash leaves.


def states(script: Callable[[FileOps, int], None], rules: Rules) -> list[Image]:
    """All that a power cut after ``script`` may leave, from a few hundred draws."""
    model = CrashFileOps()
    root = model.open_folder("/")
    script(model.fileops, root)
    disk = Disk(Image(), rules)
    for number, inode in model.live.inodes.items():
        if number not in disk.durable.inodes:
            disk.durable.add(inode)
    for entry in model.log:
        disk.feed(entry)
    return [state.image for state in after_power_cut(disk, 300, random.Random(1), 1.0)]


def contents(image: Image, name: str = "x") -> tuple[bytes, int] | None:
    """A file's bytes and how many of its sectors are no holes; None when there is no such name."""
    number = image.folders[1].get(name)
    if number is None:
        return None
    content = image.files[number]
    return content.read(0, 1 << 20), len(content.sectors)


def written(ops: FileOps, root: int) -> int:
    """A file of two sectors with an attribute, nothing synced."""
    fd = ops.open_new("x", root)
    ops.write_all(fd, b"a" * 2 * SECTOR, 0)
    ops.setxattr(fd, NAME, b"1")
    return fd


@pytest.mark.parametrize("rules", list(Rules))
def test_what_was_synced_is_there_and_what_was_not_is_any_part_of_it(rules: Rules) -> None:
    """Names, bytes and attributes without a sync: there or not; with it: there."""

    def unsynced(ops: FileOps, root: int) -> None:
        written(ops, root)

    found = {contents(image) for image in states(unsynced, rules)}
    whole = (b"a" * 2 * SECTOR, 2)
    assert {None, whole, (b"", 0)} <= found
    assert any(one not in (None, whole) and one[1] == 1 for one in found if one), "not torn"

    def synced(ops: FileOps, root: int) -> None:
        ops.fsync(written(ops, root))

    after = states(synced, rules)
    assert {contents(image) for image in after} == {whole}
    assert all(image.attributes[image.folders[1]["x"]] == {NAME: b"1"} for image in after)


def test_fdatasync_makes_bytes_durable_and_neither_name_nor_attribute() -> None:
    """By the loose rules; a journal may have brought them along."""

    def script(ops: FileOps, root: int) -> None:
        ops.fdatasync(written(ops, root))

    after = states(script, Rules.LOOSE)
    named = [image for image in after if "x" in image.folders[1]]
    assert 0 < len(named) < len(after)
    assert {contents(image) for image in named} == {(b"a" * 2 * SECTOR, 2)}
    assert {bool(image.attributes[image.folders[1]["x"]]) for image in named} == {True, False}


@pytest.mark.parametrize("rules", list(Rules))
def test_an_overwritten_sector_has_one_of_its_values(rules: Rules) -> None:
    """Old and new sectors mix; no sector is a mixture."""

    def script(ops: FileOps, root: int) -> None:
        fd = written(ops, root)
        ops.fsync(fd)
        ops.write_all(fd, b"b" * 2 * SECTOR, 0)

    found = {one[0] for image in states(script, rules) if (one := contents(image))}
    a, b = b"a" * SECTOR, b"b" * SECTOR
    assert found == {a + a, a + b, b + a, b + b}


@pytest.mark.parametrize("rules", list(Rules))
def test_a_rename_is_one_step(rules: Rules) -> None:
    """The old file or the new one, at any moment, and never neither."""

    def script(ops: FileOps, root: int) -> None:
        ops.fsync(written(ops, root))
        fd = ops.open_new("y", root)
        ops.fsync(fd)
        ops.fsync(root)
        ops.rename("y", root, "x", root)

    found = [(contents(image), "y" in image.folders[1]) for image in states(script, rules)]
    assert set(found) == {((b"a" * 2 * SECTOR, 2), True), ((b"", 0), False)}


def test_a_journal_keeps_its_order_and_the_loose_rules_do_not() -> None:
    """The later of two names without the earlier one: only by the loose rules."""

    def script(ops: FileOps, root: int) -> None:
        ops.open_new("1", root)
        ops.open_new("2", root)

    def found(rules: Rules) -> set[tuple[str, ...]]:
        return {tuple(sorted(image.folders[1])) for image in states(script, rules)}

    assert found(Rules.JOURNAL) == {(), ("1",), ("1", "2")}
    assert found(Rules.LOOSE) == {(), ("1",), ("2",), ("1", "2")}


def test_a_cut_that_is_durable_leaves_nothing_of_older_writes() -> None:
    """A journal may bring a cut before the data that was written before it."""

    def script(ops: FileOps, root: int) -> None:
        fd = written(ops, root)
        ops.truncate(fd, SECTOR)
        ops.truncate(fd, 2 * SECTOR)
        ops.fsync(root)

    found = {one[0] for image in states(script, Rules.JOURNAL) if (one := contents(image))}
    assert found == {bytes(2 * SECTOR), b"a" * SECTOR + bytes(SECTOR)}
