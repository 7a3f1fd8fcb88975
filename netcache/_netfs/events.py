"""Events: what the engine does, as log lines with the names and words of the kernel's tracepoints.

They go to the logger ``netcache.events`` at level DEBUG.  Each bears the id of its request
(``R=0000002a``), so one request can be followed through the log; the arguments of a record are a
dictionary (``record.args``), for handlers that want fields rather than text.  The lines:

* ``netfs_read``, ``netfs_write``: a request begins: why, on what, which bytes;
* ``netfs_rreq``: a step in its life (COLLECT, COMPLET, PAUSE, UNPAUSE, RESUBMT, WAIT-QUIESCE,
  DONE-QUIESCE, S-ABNDN, FREE, ...);
* ``netfs_sreq``: a step in the life of a subrequest (PREP, SUBMT, PRGRS, TERM, CONSM, ABNDN,
  SHORT, N-CLR, ND-RT, RETRY, SPLIT, SPRFL, LIMIT, CANCL, CA-WR, TOO-MUCH, ...);
* ``netfs_failure``: where something failed, and the error;
* ``netfs_miss``: bytes that a read wanted were not there, and why (``_core.misses``);
* ``netfs_collect``, ``netfs_collect_gap``: what the collector folded in, or passed over.

While nobody listens a call costs one comparison of levels.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netcache._core.misses import Missed
    from netcache._netfs.traced import Numbered, TracedRead, TracedRequest, TracedSub

LOGGER_NAME = "netcache.events"

_log = logging.getLogger(LOGGER_NAME)


def read(request: TracedRead, url: str) -> None:
    """A request begins."""
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug(
            "netfs_read R=%(request)08x %(kind)s url=%(url)s s=%(start)d e=%(end)d size=%(size)d",
            {
                "request": request.id,
                "kind": request.origin.event,
                "url": url,
                "start": request.start,
                "end": request.end,
                "size": request.size,
            },
        )


def write(request: TracedRequest, url: str) -> None:
    """A writeback begins."""
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug(
            "netfs_write R=%(request)08x %(kind)s url=%(url)s size=%(size)d",
            {
                "request": request.id,
                "kind": request.origin.event,
                "url": url,
                "size": request.size,
            },
        )


def rreq(request: TracedRequest, step: str) -> None:
    """A step in the life of a request."""
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug(
            "netfs_rreq R=%(request)08x %(origin)s %(step)s to=%(collected_to)d e=%(error)s",
            {
                "request": request.id,
                "origin": request.origin.letters,
                "step": step,
                "collected_to": request.collected_to,
                "error": _name_of(request.error),
            },
        )


def sreq(sub: TracedSub, step: str) -> None:
    """A step in the life of a subrequest."""
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug(
            "netfs_sreq R=%(request)08x[%(index)d] %(source)s %(step)s "
            "s=%(start)d %(transferred)d/%(length)d n=%(retries)d e=%(error)s",
            {
                "request": sub.request.id,
                "index": sub.index,
                "source": sub.source.value,
                "step": step,
                "start": sub.start,
                "transferred": sub.transferred,
                "length": sub.length,
                "retries": sub.retries,
                "error": _name_of(sub.error),
            },
        )


def failure(request: Numbered, where: str, error: BaseException) -> None:
    """Something failed, at ``where`` (read, short-read, copy-to-cache, dio-read-short, ...)."""
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug(
            "netfs_failure R=%(request)08x %(where)s e=%(error)s (%(text)s)",
            {
                "request": request.id,
                "where": where,
                "error": _name_of(error),
                "text": str(error),
            },
        )


def miss(request: int, url: str, missed: Missed) -> None:
    """A read wanted bytes that were not there; ``request`` brings them."""
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug(
            "netfs_miss R=%(request)08x url=%(url)s s=%(start)d e=%(end)d why=%(cause)s",
            {
                "request": request,
                "url": url,
                "start": missed.start,
                "end": missed.end,
                "cause": missed.cause.value,
            },
        )


def collect(request: Numbered, start: int, end: int) -> None:
    """``[start, end)`` was folded in."""
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug(
            "netfs_collect R=%(request)08x s=%(start)d e=%(end)d",
            {"request": request.id, "start": start, "end": end},
        )


def collect_gap(request: Numbered, start: int, end: int) -> None:
    """``[start, end)`` was passed over: it will not come."""
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug(
            "netfs_collect_gap R=%(request)08x s=%(start)d e=%(end)d",
            {"request": request.id, "start": start, "end": end},
        )


def _name_of(error: BaseException | None) -> str:
    return type(error).__name__ if error is not None else "0"
