"""What ``events`` tells of requests and their subrequests, reads and writes alike."""

from __future__ import annotations

from typing import Protocol


class Why(Protocol):
    """Why a request was made."""

    @property
    def letters(self) -> str:
        """Two letters, as in the kernel's list of requests."""

    @property
    def event(self) -> str:
        """The kind that ``netfs_read`` or ``netfs_write`` tells."""


class Numbered(Protocol):
    """A request, by its number in the log."""

    @property
    def id(self) -> int:
        """Which request it is, in this process."""


class TracedRequest(Numbered, Protocol):
    """A request, and how far it is."""

    @property
    def origin(self) -> Why:
        """Why it was made."""

    @property
    def size(self) -> int:
        """Of the resource, in bytes; -1 while nobody knows."""

    @property
    def collected_to(self) -> int:
        """What lies below has been folded in."""

    @property
    def error(self) -> BaseException | None:
        """What went wrong first."""


class TracedRead(TracedRequest, Protocol):
    """A read of ``[start, end)``."""

    @property
    def start(self) -> int:
        """Where it begins."""

    @property
    def end(self) -> int:
        """Where it ends."""


class Named(Protocol):
    """Where a subrequest reads or writes."""

    @property
    def value(self) -> str:
        """The kernel's four letters."""


class TracedSub(Protocol):
    """A subrequest."""

    @property
    def request(self) -> Numbered:
        """What it is a part of."""

    @property
    def index(self) -> int:
        """Which of its request it is."""

    @property
    def source(self) -> Named:
        """Where it reads or writes."""

    @property
    def start(self) -> int:
        """Where it begins."""

    @property
    def transferred(self) -> int:
        """How many bytes have come, or gone."""

    @property
    def length(self) -> int:
        """How many bytes it is for."""

    @property
    def retries(self) -> int:
        """How often it was tried again."""

    @property
    def error(self) -> BaseException | None:
        """What its last attempt ended with."""
