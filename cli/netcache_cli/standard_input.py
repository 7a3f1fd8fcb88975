"""Stdin as a stream to upload, that can be given up while somebody waits for it.

The client reads it on a thread of its own.  A plain read there could not be ended by Ctrl-C: the
thread would hold up the exit until the other end of the pipe closes.
"""

from __future__ import annotations

import io
import os
import select
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from typing_extensions import Buffer


class StandardInput(io.RawIOBase):
    """Reads descriptor 0 until its end, or until it is closed here."""

    name = "<stdin>"

    def __init__(self) -> None:
        super().__init__()
        if sys.stdin is None:
            raise click.UsageError("stdin (-) is closed, so there is nothing to put")
        self._source = sys.stdin.fileno()
        self._wake_read, self._wake_write = os.pipe()
        self._is_ended = False

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Wait for bytes; 0 at the end.  `InterruptedError` when it is given up meanwhile."""
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        ready = dict(poll.poll())
        if self._wake_read in ready or self._is_ended:
            raise InterruptedError("stdin was given up")
        return os.readv(self._source, [memoryview(buffer)])

    def close(self) -> None:
        """Give it up: a read that waits raises.  Idempotent."""
        if not self._is_ended:
            # The read end stays open: a reader may be about to look at it.
            self._is_ended = True
            os.close(self._wake_write)
        super().close()
