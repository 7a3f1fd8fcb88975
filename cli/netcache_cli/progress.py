"""Progress bars on a terminal: one a transfer, and a total for trees and several.

The client calls the sink on its own threads; the sink only writes figures down.  A painter thread
imports rich and draws, so that the transfer never waits for the terminal.  Nothing of this exists
in a pipe, with `-q` or with `--json`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from netcache._core.units import format_size
from netcache_cli.session import Session

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from netcache._core.progress import ProgressEvent, ProgressSink

_FRAME_S = 0.1
_BARS_MAX = 8
_ENDS = ("done", "failed", "unchanged")


@contextmanager
def shown_progress(session: Session) -> Iterator[ProgressSink | None]:
    """A sink whose events are drawn on stderr; None where nothing is to be drawn."""
    settings = session.settings
    logs_there = settings.verbose and not settings.log_file
    if settings.quiet or settings.json or logs_there or not sys.stderr.isatty():
        yield None
        return
    figures = Figures()
    painter = Painter(figures)
    painter.start()
    try:
        yield figures.note
    finally:
        painter.stop()


class Figures:
    """What the events have said so far.  `lock` guards all fields."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.active: dict[str, tuple[int, int | None]] = {}
        self.last: tuple[str, int] | None = None
        self.planned_bytes: int | None = None
        self.ended_bytes = 0
        self.ended = 0
        self.started = 0

    def note(self, event: ProgressEvent) -> None:
        """The sink."""
        with self.lock:
            if event.kind == "plan":
                self.planned_bytes = event.total_bytes
            elif event.kind in _ENDS:
                if self.active.pop(event.name, None) is not None:
                    self.ended += 1
                    self.ended_bytes += event.done_bytes
                    is_good = event.kind != "failed"
                    self.last = (event.name, event.done_bytes) if is_good else None
            else:
                self.started += event.kind == "start"
                self.active[event.name] = (event.done_bytes, event.total_bytes)

    @property
    def is_tree(self) -> bool:
        """Whether a total makes sense."""
        return self.planned_bytes is not None or self.started > 1


class Painter:
    """Draws the figures, on a thread of its own."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._paint, name="netcache-progress", daemon=True)
        self._total: TaskID | None = None
        self._bars: dict[str, TaskID] = {}

    def start(self) -> None:
        """Begin to draw, at the first event."""
        self._thread.start()

    def stop(self) -> None:
        """Draw the last state and leave the terminal as it was."""
        self._ended.set()
        self._thread.join()

    def _paint(self) -> None:
        progress = _make_progress()
        with progress:
            while not self._ended.wait(_FRAME_S):
                self._draw(progress)
            self._draw(progress, is_last=True)
            # Nothing to show at the end, as after an error, must not leave an empty line.
            progress.live.transient = not progress.tasks

    def _draw(self, progress: Progress, *, is_last: bool = False) -> None:
        figures = self._figures
        with figures.lock:
            active, last = dict(figures.active), figures.last
            is_tree, planned = figures.is_tree, figures.planned_bytes
            done = figures.ended_bytes + sum(have for have, _ in active.values())
            ended = figures.ended
        for name in [name for name in self._bars if name not in active]:
            progress.remove_task(self._bars.pop(name))
        if is_last and not is_tree and last is not None:
            name, have = last
            progress.add_task(_shortened(name), total=have, completed=have)
        for name, (have, size) in list(active.items())[:_BARS_MAX]:
            if name not in self._bars:
                self._bars[name] = progress.add_task(_shortened(name), total=size)
            progress.update(self._bars[name], completed=have, total=size)
        if is_tree:
            if self._total is None:
                self._total = progress.add_task("total")
            text = f"total, {ended} file{'s' * (ended != 1)}"
            progress.update(self._total, description=text, completed=done, total=planned)
        progress.refresh()


def _make_progress() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{format_size(int(speed))}/s")

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        Speed(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        auto_refresh=False,
    )


def _shortened(name: str, width: int = 40) -> str:
    """The end of a name: the part that tells files apart."""
    from netcache_cli.text import printable

    shown = printable(name).encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= width else "…" + shown[1 - width :]
