"""Reach: whether the server of a run still answers, or all that is left would wait for it in vain.

Of a server that takes requests and says nothing each item hears after all its attempts, which with
the defaults is two and a half minutes: a tree of thousands would go on for hours.

Rules:

1. A run is in doubt when as many items in a row as there are transfers, and ``SILENT_MIN``, had no
   answer in time, each after all its attempts.
2. Then the root of the tree is asked for, and if it is there its listing: that has a body, and
   bodies may stall where heads come through.  Only when one of the two has no answer in time
   either, the server is out of reach; with any other answer the run goes on.  (Names at which a
   server hangs do not stop the others.  One that lists, and hangs at every name, is waited for.)
3. What would be begun while it is out of reach fails at once.  An answer that comes all the same,
   to what was begun before, ends that.  Small files, of which hundreds may be on their way and take
   turns, are given up (``on_lost``), and so not begun.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from netcache.errors import RemoteTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from netcache._client.trees.ports import TreeOps
    from netcache._client.trees.tally import Tally

SILENT_MIN = 4
"""Fewer items without an answer say nothing of the server."""

_WHY = "not tried, because the server does not answer any more (run it again when it does)"


class Reach:
    """The server of one run, whose ``tally`` knows what was answered.  On the event loop only."""

    def __init__(self, ops: TreeOps, root_url: str, tally: Tally) -> None:
        self._ops = ops
        self._root_url = root_url
        self._tally = tally
        self._silent_max = max(SILENT_MIN, ops.transfers)
        # Called when the server turns out to be out of reach.
        self.on_lost: Callable[[], None] = lambda: None
        # Whether anything was not tried.
        self.has_refused = False
        self._is_lost = False
        self._asking = asyncio.Lock()

    @property
    def in_doubt(self) -> bool:
        """Whether ``refuses`` is to be asked before anything is begun."""
        return self._tally.silent_count >= self._silent_max

    async def refuses(self, name: str) -> bool:
        """Whether the item has failed, because the server is out of reach; may ask the server."""
        async with self._asking:
            if not self.in_doubt:
                self._is_lost = False
            elif not self._is_lost:
                self._is_lost = await self._asked_in_vain()
                if self._is_lost:
                    self.on_lost()
        if self._is_lost:
            self.has_refused = True
            self._tally.refused(name, _WHY, RemoteTimeoutError.exit_code)
        return self._is_lost

    async def _asked_in_vain(self) -> bool:
        try:
            await self._ops.stat(self._root_url)
            await self._ops.list(self._root_url)
        except RemoteTimeoutError:
            # Something else may have been answered meanwhile.
            return self.in_doubt
        except OSError:
            pass
        self._tally.silent_count = 0
        return False
