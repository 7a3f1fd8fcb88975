"""What a process and its hands tell each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from netcache._client.options import ClientOptions
    from netcache.spi import ResourceInfo


BEATS = 10
"""So often within the timeout a hand says that it is alive."""


def beat_s(options: ClientOptions) -> float:
    """How often a hand says that it is alive."""
    return options.timeout_s / BEATS


class Begin(NamedTuple):
    """To a hand, first of all: how to be the same client, and how many files to fetch at a time."""

    options: ClientOptions
    credentials: dict[str, tuple[str, str]]
    in_flight: int
    log_level: int


class Ready(NamedTuple):
    """From a hand, first of all: give me work."""


class Credentials(NamedTuple):
    """To a hand: what it uses from now on, by origin."""

    credentials: dict[str, tuple[str, str]]


class Alive(NamedTuple):
    """From a hand, every ``beat_s``: its loop turns, whatever the servers do."""


class Order(NamedTuple):
    """To a hand: bring this file to ``path``."""

    number: int
    info: ResourceInfo
    path: str


class Done(NamedTuple):
    """From a hand: the file is there; its progress came to ``told_bytes``."""

    number: int
    told_bytes: int
    size: int
    fetched_bytes: int


class Failed(NamedTuple):
    """From a hand: the file cannot be had, and why."""

    number: int
    told_bytes: int
    error: OSError


class Returned(NamedTuple):
    """From a hand: it could not do this at all; whoever ordered it is to do it himself."""

    number: int


class Logged(NamedTuple):
    """From a hand: a line for the log."""

    logger: str
    level: int
    text: str


class Warned(NamedTuple):
    """From a hand: a warning for the client's user."""

    text: str


class Counted(NamedTuple):
    """From a hand, last of all: its counters."""

    groups: dict[str, dict[str, int]]


Message = (
    Begin
    | Credentials
    | Ready
    | Alive
    | Order
    | Done
    | Failed
    | Returned
    | Logged
    | Warned
    | Counted
)
