"""Runs scenarios on a disk that fails at its n-th call, and checks what has to hold then.

Whatever fails: bytes are right, the server has what was acknowledged, only netcache's own errors
come out, nothing is logged with a traceback, each trouble is told once and on one line, no
descriptor stays open, and when the disk is well again the same client caches again.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import itertools
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.disk_faults import DiskFaults
from tests.support.disk_stage import DATA, NEWER, OTHER, OTHER_URL, URL, Scenario, Stage

MOST_CALLS = 600
CODES = (errno.ENOSPC, errno.EIO, errno.EROFS)


class Trial(NamedTuple):
    """A scenario whose n-th call fails with ``code``, once or from then on."""

    scenario: Scenario
    code: int
    lasting: bool
    number: int

    def __str__(self) -> str:
        how = "from" if self.lasting else "at"
        return f"{self.scenario.name} {errno.errorcode[self.code]} {how} call {self.number}"


def run(trial: Trial, home: Path) -> bool:
    """Run it in the new folder ``home``; False when nothing failed, for there are fewer calls."""
    home.mkdir(parents=True)
    descriptors = open_descriptors()
    with DiskFaults(home / "cache") as faults, watched() as noise:
        stage = Stage(home, faults, trial.scenario.options)
        stage.server.store(URL, DATA)
        stage.server.store(OTHER_URL, OTHER)
        try:
            trial.scenario.prepare(stage)
            if trial.scenario.open:
                assert stage.client
            faults.arm(trial.code, trial.number, lasting=trial.lasting)
            try:
                trial.scenario.act(stage)
            finally:
                failed = list(faults.failed)
                faults.disarm()
            check_told(stage)
            check_back(stage)
        except Exception as error:
            error.failed = bool(faults.failed)  # type: ignore[attr-defined]
            raise
        finally:
            faults.disarm()
            stage.close()
    assert noise == [], noise
    if set(open_descriptors()) - set(descriptors):
        # A map lives as long as the last view of it, and a traceback may have seen one.
        gc.collect()
    left = {name: what for name, what in open_descriptors().items() if name not in descriptors}
    assert left == {}, f"descriptors are left open: {left}"
    return bool(failed)


def numbers(step: int = 1, first: int = 1) -> Iterator[int]:
    """The numbers of the calls to fail."""
    return itertools.count(first, step)


def run_all(
    scenario: Scenario,
    code: int,
    home: Path,
    *,
    lasting: bool,
    step: int = 1,
    first: int = 1,
    on_fault: Callable[[Trial, BaseException], None] | None = None,
) -> int:
    """Fail each call in turn (each ``step``-th from ``first`` on); returns how many there were."""
    for tried, number in enumerate(numbers(step, first)):
        assert number < MOST_CALLS, f"{scenario.name} never goes through"
        trial = Trial(scenario, code, lasting, number)
        try:
            if not run(trial, home / f"{code}-{int(lasting)}-{number}"):
                return tried
        except Exception as error:
            if on_fault is None:
                raise AssertionError(f"{trial}: {error!r}") from error
            on_fault(trial, error)
            if not getattr(error, "failed", True):
                return tried
    raise AssertionError("unreachable")


def check_told(stage: Stage) -> None:
    """Trouble is told on one line, and each only once."""
    for line in [*stage.warnings, *map(str, stage.refused)]:
        assert line
        assert "\n" not in line
        assert "Traceback" not in line
    assert len(set(stage.warnings)) == len(stage.warnings), stage.warnings
    assert len(stage.warnings) <= 1, stage.warnings


def check_back(stage: Stage) -> None:
    """The disk is well: what is read now is cached by the same client, and served from there."""
    client = stage.client
    whole = stage.at_server(URL)
    assert whole in (DATA, NEWER) or len(whole)
    for url in (URL, OTHER_URL):
        data = stage.at_server(url)
        with client.open(url) as file:
            assert file.read() == data
        extents = client.cache.extents(url)
        assert extents == [(0, len(data))], (url, extents)
        before = client.stats()["DownOps"]["bytes"]
        with client.open(url) as file:
            assert file.read() == data
        assert client.stats()["DownOps"]["bytes"] == before, "it is not served from the cache"


def open_descriptors() -> dict[str, str]:
    """What this process has open, but for what belongs to nobody's cache."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return found


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """Collects what must never be: tracebacks in the log, errors of threads and of destructors."""
    noise: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info or record.levelno >= logging.ERROR:
                noise.append(self.format(record))

    def unraisable(args: Any) -> None:
        noise.append(f"unraisable: {args.exc_value!r} in {args.object!r}")

    def of_thread(args: Any) -> None:
        noise.append(f"thread: {args.exc_value!r}")

    handler, root = Handler(), logging.getLogger()
    hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook, threading.excepthook = unraisable, of_thread
    root.addHandler(handler)
    try:
        yield noise
    finally:
        root.removeHandler(handler)
        sys.unraisablehook, threading.excepthook = hooks
