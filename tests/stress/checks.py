"""What must hold of each operation, by the book of versions.

Every check raises ``AssertionError``.
"""

from __future__ import annotations

import time

from tests.stress.book import Book, Noted
from tests.support.bytemodel import ByteModel

_CHUNK = 256

Run = tuple[int, int]
"""A start and an end."""


class Watch:
    """One operation of ``who`` on one resource, from ``begin_ns`` on."""

    def __init__(self, book: Book, name: str, who: str = "") -> None:
        self.book = book
        self.name = name
        self.who = who
        self.begin_ns = time.monotonic_ns()

    def shown(self, etag: str, start: int, found: bytes | memoryview, length: int) -> None:
        """These bytes were read of a version: they are its bytes, all that it has there."""
        truth = self.book.bytes_of(self.name, etag)[start : start + length]
        assert found == truth, f"{self.name} {etag}: {_first_difference(found, truth, start)}"

    def fresh(self, etag: str) -> None:
        """A version was shown to somebody who asked for the current one after the beginning."""
        assert not self.book.replaced_before(self.name, etag, self.begin_ns), (
            f"{self.name}: {etag} was shown, and had been replaced before it was asked for"
        )

    def copied(self, found: bytes) -> None:
        """All of one of the versions that were current since the beginning was copied."""
        versions = self.book.current_between(self.name, self.begin_ns, time.monotonic_ns())
        assert any(found == self.book.bytes_of(self.name, noted.etag) for noted in versions), (
            f"{self.name}: what was copied is none of {len(versions)} versions of that time"
        )

    def stored(self, data: bytes, after: str | None = None) -> str:
        """The server has made a version of these bytes since the beginning; returns its ETag.

        ``after``: the version before it was this one, and no other.
        """
        versions = self.book.versions(self.name)
        for index, noted in reversed(list(enumerate(versions))):
            if noted.from_ns < self.begin_ns:
                break
            if self.book.bytes_of(self.name, noted.etag) == data:
                before = versions[index - 1].etag if index else None
                assert after in (None, before), f"{self.name}: {before} was overwritten unseen"
                return noted.etag
        raise AssertionError(f"{self.name}: stored, and not at the server")

    def not_stored(self, data: bytes) -> None:
        """The server has no version of these bytes."""
        for noted in self.book.versions(self.name):
            if noted.from_ns >= self.begin_ns:
                found = self.book.bytes_of(self.name, noted.etag)
                assert found != data, f"{self.name}: given up, and at the server"

    def changed_meanwhile(self, base: str | None = None, data: bytes | None = None) -> None:
        """Somebody has made a version after ``base`` (None: since the beginning).

        ``data``: what this operation itself would make; its process may also recover an edit.
        """
        versions = self.book.versions(self.name)
        first = self.book.index_of(self.name, base) + 1 if base is not None else 0
        assert any(
            (base is not None or noted.sure_ns is None or noted.sure_ns >= self.begin_ns)
            and (noted.author != self.who or self.book.bytes_of(self.name, noted.etag) != data)
            for noted in versions[first:]
        ), f"{self.name}: a conflict with nobody"


class EditWatch(Watch):
    """An edit: the version that it is made from, and what it should become."""

    def __init__(self, book: Book, name: str, who: str) -> None:
        super().__init__(book, name, who)
        self.base = ""
        self.model = ByteModel()
        self.runs: list[Run] = []
        self.cuts: list[int] = []
        self.steps: list[bytes] = []

    def made_from(self, base: str) -> None:
        """The edit begins with this version, which must be current."""
        self.fresh(base)
        self.base = base
        self.model = ByteModel(self.book.bytes_of(self.name, base))
        self.steps = [bytes(self.model.data)]

    def write(self, start: int, data: bytes) -> None:
        """Bytes were written."""
        self.runs.append((start, start + len(data)))
        self.model.write(start, data)
        self.steps.append(bytes(self.model.data))

    def truncate(self, size: int) -> None:
        """The file was cut or extended."""
        self.cuts.append(size)
        self.model.truncate(size)
        self.steps.append(bytes(self.model.data))

    def lasting(self) -> list[Run]:
        """What was written at one go, and neither written again nor cut off."""
        return [
            (start, end)
            for start, end in self.runs
            if sum(start < other_end and other < end for other, other_end in self.runs) == 1
            and end <= min(self.cuts, default=end)
        ]

    def arrived(self) -> None:
        """The server has all of it, and no other's change lies between it and its base."""
        if self.model.data == self.steps[0]:
            return
        for noted in self._since_base():
            assert noted.author == self.who, f"{self.name}: {noted.etag} was overwritten unseen"
            found = self.book.bytes_of(self.name, noted.etag)
            if found == self.model.data:
                return
            assert self.is_a_step(found), f"{self.name}: {noted.etag} was never written"
        raise AssertionError(f"{self.name}: an edit was acknowledged, and is not at the server")

    def conflicted(self) -> None:
        """Somebody else has made a version after the edit's base.

        What its process has made may also be the recovery of an edit of a killed one.
        """
        since = self._since_base()
        if all(
            noted.author == self.who and self.is_a_step(self.book.bytes_of(self.name, noted.etag))
            for noted in since
        ):
            known = [self._known_as(self.book.bytes_of(self.name, noted.etag)) for noted in since]
            raise AssertionError(
                f"{self.name}: an edit conflicts with nobody; it was "
                f"{[len(step) for step in self.steps]} bytes long, at the server since its base "
                f"{known}"
            )

    def _since_base(self) -> list[Noted]:
        return self.book.versions(self.name)[self.book.index_of(self.name, self.base) + 1 :]

    def _known_as(self, found: bytes) -> str:
        """The size of a version, and the step that it is, or ``mixed``."""
        steps = [str(number) for number, step in enumerate(self.steps) if step == found]
        return f"{len(found)} (step {' and '.join(steps)})" if steps else f"{len(found)} (mixed)"

    def is_a_step(self, found: bytes) -> bool:
        """Whether each byte is one that the base has there, or that the edit wrote there."""
        sizes = [len(step) for step in self.steps]
        if not min(sizes) <= len(found) <= max(sizes):
            return False
        for start in range(0, len(found), _CHUNK):
            chunk = found[start : start + _CHUNK]
            ours = [step[start : start + _CHUNK].ljust(len(chunk), b"\0") for step in self.steps]
            if chunk not in ours and any(
                byte not in column for byte, *column in zip(chunk, *ours, strict=False)
            ):
                return False
        return True


def _first_difference(found: bytes | memoryview, truth: bytes, start: int) -> str:
    if len(found) != len(truth):
        return f"{len(found)} bytes at {start} instead of {len(truth)}"
    at = next(at for at, byte in enumerate(truth) if found[at] != byte)
    return f"byte {start + at} of [{start}, {start + len(truth)}) is {found[at]}, not {truth[at]}"
