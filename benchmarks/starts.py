"""The command line's start, against Python's own."""

from __future__ import annotations

import sys

from benchmarks.contest import Score, Work, contest, median_of
from benchmarks.peers import ours, peers, run_timed
from benchmarks.rig import Rig

CLICK_RATIO = 1.5
"""What a cached byte may cost of the time that importing click alone takes."""


def start(rig: Rig, rounds: int) -> list[Score]:
    """``--version``, and ``cat`` of one cached byte: as it is, and with its check at the server,
    which is the default.  What is imported anyway is in the limits.

    The goals are those of seconds: 50 ms, and 80 ms, more than ``python -c pass``.
    """
    cache = rig.fresh("start")
    (rig.www / "byte").write_bytes(b"x" * 5000)
    url = rig.url + "byte"
    ours(cache, "warm", url)
    checked = ("cat", url, "--count", "1")
    cat = ("--validate", "never", *checked)

    python = _python("pass")
    pass_s = median_of(python)
    rclone: Work = lambda: median_of(lambda: run_timed("rclone", "version"))  # noqa: E731

    def repeated(*command: str) -> Work:
        return lambda: median_of(lambda: ours(cache, *command))

    rows: list[tuple[str, tuple[str, Work], tuple[str, ...], float, dict[str, Work]]] = [
        ("`--version`", ("python -c pass", python), ("--version",), 0.05, peers(rclone=rclone)),
        ("`cat` of a cached byte", ("python -c pass", python), cat, 0.08, {}),
        ("`cat` of a cached byte, checked", ("python -c pass", python), checked, 0.08, {}),
        ("`cat` of a cached byte", ("import click", _python("import click")), cat, 0.0, {}),
    ]
    return [
        contest(
            row,
            (name, lambda limit=limit: median_of(limit)),  # type: ignore[misc]
            {"netcache": repeated(*command), **others},
            rounds=rounds,
            reach=1 + more_s / pass_s if more_s else CLICK_RATIO,
        )
        for row, (name, limit), command, more_s, others in rows
    ]


def _python(code: str) -> Work:
    return lambda: run_timed(sys.executable, "-c", code)
