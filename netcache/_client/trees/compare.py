"""Changed or not: what makes a file that is on both sides need copying.  Pure.

1. Different sizes: changed, always.
2. ``size``: equal sizes are enough.  ``digest``: equal sizes and equal SHA-256 digests.
3. ``time``, downloads: unchanged when the local mtime is the remote's, to the second.  A download
   gives the file the remote's mtime, so that this holds afterwards, and an edit of either side
   that keeps the size is seen.
4. ``time``, uploads: unchanged when the mtimes are equal to the second.  Where the origin is not
   known (by an upload, of an earlier client too) to keep the mtimes that uploads give it, the
   remote mtime is the time of the upload: the file is then also unchanged when the local mtime is
   not later.  What that can miss (an older file of the same size put in place, clocks that differ)
   ``digest`` sees.
5. Figures that a listing does not give are asked of the server before a file is called changed
   (what it gives is exact: backends drop rounded sizes and times).  What the server does not tell
   either cannot be called unchanged.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple

from netcache._client.trees.entries import Entry

By = Literal["time", "size", "digest"]


class Verdict(Enum):
    """What a comparison found."""

    SAME = "same"
    DIFFERENT = "different"
    ASK_SERVER = "ask the server for exact figures"
    ASK_DIGESTS = "compare digests"


class Rule(NamedTuple):
    """How files are compared."""

    by: By
    upload: bool
    origin_keeps_mtime: bool


def judge(local: Entry, remote: Entry, rule: Rule, *, is_exact: bool = False) -> Verdict:
    """Compare two files.  ``is_exact``: the remote figures are all that the server tells."""
    if local.kind != "file":
        return Verdict.DIFFERENT
    verdict = _judged(local, remote, rule)
    if verdict is not Verdict.DIFFERENT or is_exact:
        return verdict
    time_is_missing = rule.by == "time" and remote.mtime_s is None and local.size == remote.size
    return Verdict.ASK_SERVER if remote.size is None or time_is_missing else verdict


def _judged(local: Entry, remote: Entry, rule: Rule) -> Verdict:
    if remote.size is None or local.size != remote.size:
        return Verdict.DIFFERENT
    if rule.by == "size":
        return Verdict.SAME
    if rule.by == "digest":
        return Verdict.ASK_DIGESTS
    if local.mtime_s is None or remote.mtime_s is None:
        return Verdict.DIFFERENT
    if local.mtime_s == remote.mtime_s:
        return Verdict.SAME
    stamped_by_server = rule.upload and not rule.origin_keeps_mtime
    if stamped_by_server and local.mtime_s <= remote.mtime_s:
        return Verdict.SAME
    return Verdict.DIFFERENT
