"""How the end of a read subrequest is judged: the completion table of netfslib.  Pure.

The rows, top down; the first that fits decides:

1.  more bytes came than were asked for: EIO, nothing of them counts, no other attempt;
2.  an error, and the source says that another attempt may help: all there anyway, else retry;
3.  an error, from the cache: retry from the server;
4.  an error, from the server: fail;
5.  complete: fine;
6.  short at the end of the resource, or where the tail is to be cleared: clear the rest, fine;
7.  short, and the source asks for another attempt: retry;
8.  short, with progress: retry for the remainder;
9.  short without progress, from the cache: retry from the server, counted as a failed cache read;
10. short without progress, from the server: ENODATA.

Every verdict that is not fine pauses the issuing of further subrequests.
"""

from __future__ import annotations

import errno
from enum import Enum
from typing import NamedTuple

from netcache._core.read_sources import Source


class Outcome(NamedTuple):
    """What was seen of a subrequest that has stopped.

    ``transferred`` is what came of its ``length`` over all attempts, ``before`` what had come when
    this one began.  ``failed``: an error ended it.  ``need_retry``: the source says that another
    attempt may help.  ``hit_eof``: the resource ended.  ``clear_tail``: what lacks is zeros.
    """

    source: Source
    length: int
    transferred: int
    before: int = 0
    failed: bool = False
    need_retry: bool = False
    hit_eof: bool = False
    clear_tail: bool = False


class Verdict(Enum):
    """What to do with a subrequest that has stopped."""

    FINE = "fine"
    CLEAR = "clear the rest: fine"
    RETRY = "retry for the remainder"
    RETRY_FROM_SERVER = "retry from the server"
    TOO_MUCH = "fail: more came than was asked for"
    NO_DATA = "fail: nothing came"
    FAIL = "fail with the error that was seen"

    @property
    def fine(self) -> bool:
        """Whether all of it is there."""
        return self in (Verdict.FINE, Verdict.CLEAR)

    @property
    def retries(self) -> bool:
        """Whether another attempt is wanted."""
        return self in (Verdict.RETRY, Verdict.RETRY_FROM_SERVER)

    @property
    def fails(self) -> bool:
        """Whether it is given up."""
        return not (self.fine or self.retries)

    @property
    def pauses(self) -> bool:
        """Whether no further subrequest may be issued for the moment."""
        return not self.fine

    @property
    def errno(self) -> int:
        """The error to report when none was seen; 0 for none."""
        return {Verdict.TOO_MUCH: errno.EIO, Verdict.NO_DATA: errno.ENODATA}.get(self, 0)


def judge(outcome: Outcome) -> Verdict:
    """The verdict over a subrequest that has stopped."""
    lacks = outcome.transferred < outcome.length
    from_cache = outcome.source is Source.CACHE
    if outcome.transferred > outcome.length:
        return Verdict.TOO_MUCH
    if outcome.failed:
        if outcome.need_retry:
            return Verdict.RETRY if lacks else Verdict.FINE
        return Verdict.RETRY_FROM_SERVER if from_cache else Verdict.FAIL
    if not lacks:
        return Verdict.FINE
    if outcome.hit_eof or outcome.clear_tail:
        return Verdict.CLEAR
    if outcome.need_retry or outcome.transferred > outcome.before:
        return Verdict.RETRY
    return Verdict.RETRY_FROM_SERVER if from_cache else Verdict.NO_DATA
