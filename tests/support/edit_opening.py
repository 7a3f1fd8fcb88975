"""The files that the model of writable files has open: opened, closed, aborted, restarted."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

import netcache
from tests.support.edit_model import B, Edit
from tests.support.edit_world import URL, Client, EditWorld, Handle, netcache_stats
from tests.support.leaks import check_idle

HANDLES_MAX = 6

picks = st.integers(0, 11)
seeds = st.integers(0, 999)
open_modes = st.sampled_from(["r+b", "r+b", "r+b", "ab", "w+b", "rb"])
places = st.one_of(
    st.integers(0, 4 * B),
    st.tuples(st.integers(0, 5), st.integers(-2, 2)).map(lambda at: max(0, at[0] * B + at[1])),
    st.sampled_from([300 * 1024, 300 * 1024 + 17, 390 * 1024]),
)
lengths = st.one_of(st.integers(1, 3 * B), st.sampled_from([1, B - 1, B, B + 1, 2 * B]))
sizes = st.one_of(places, st.sampled_from([0, 1, B, 3 * B]))


class EditOpening(EditWorld):
    """Clients that open and close the one resource."""

    @initialize(
        seed=seeds,
        size=sizes,
        tells_versions=st.booleans(),
        modes=st.tuples(*[st.sampled_from(["through", "back"])] * 2),
        hard=st.sampled_from([256 << 20, 2 * B]),
        opens=st.lists(st.tuples(picks, open_modes), min_size=1, max_size=4),
    )
    def begin(
        self,
        seed: int,
        size: int,
        tells_versions: bool,
        modes: tuple[str, str],
        hard: int,
        opens: list[tuple[int, str]],
    ) -> None:
        """The server has a resource, and two clients are there."""
        self.set_up(seed, size, tells_versions, modes, hard)
        for pick, mode in opens:
            self.open(pick, mode)

    def picked(self, pick: int, *, edits: bool) -> Handle | None:
        """One of the handles."""
        fit = [handle for handle in self.handles if (handle.edit is not None) == edits]
        if not fit and edits:
            self.open(pick, "r+b" if self.hub.data is not None else "ab")
            fit = [handle for handle in self.handles if handle.edit is not None]
        return fit[pick % len(fit)] if fit else None

    @precondition(lambda self: len(self.handles) < HANDLES_MAX)
    @rule(pick=picks, mode=open_modes)
    def open(self, pick: int, mode: str) -> None:
        """Open the resource in one of the clients."""
        client = self.clients[pick % 2]
        if client.held and mode != "rb":
            return
        shared = next(
            (e for e in self.edits if e.owner == client.name and e.users and e.private is False),
            None,
        )
        now = {len(self.hub.log) - 1}
        data = self.hub.data
        task = asyncio.ensure_future(client.face.open(URL, mode), loop=self.loop)
        self.finish(task)
        error = task.exception()
        if error is not None:
            absent = isinstance(error, netcache.NotFoundError) and data is None
            lost = isinstance(error, netcache.TransientError) and client.armed
            assert absent or lost, repr(error)
            return
        edit: Edit | None = None
        if mode == "w+b":
            edit = self.new_edit(client, b"", private=True)
        elif mode != "rb" and shared is not None:
            edit = shared
            edit.users += 1
        elif mode != "rb":
            edit = self.new_edit(client, data or b"", private=False)
        self.handles.append(Handle(client, task.result(), edit, now))

    def new_edit(self, client: Client, view: bytes, *, private: bool) -> Edit:
        """A dirty file that was just made."""
        base = (self.hub.data or b"") if not private else b"\xff"
        edit = Edit(client.name, view, base, private=private, doubtful=client.armed)
        self.edits.append(edit)
        return edit

    @rule(pick=picks)
    def close(self, pick: int) -> None:
        """Close a writer: the server has everything, or it is told why not."""
        handle = self.picked(pick, edits=True)
        if handle is None:
            return
        edit = handle.edit
        assert edit is not None
        self.handles.remove(handle)
        since = len(edit.states) - 1

        def then(task: asyncio.Task[Any]) -> None:
            self.judge(handle, task, since)
            edit.users -= 1
            self.bury()

        self.run(handle, handle.file.close(), then)

    @rule(pick=picks)
    def abort(self, pick: int) -> None:
        """Let a writer go without sending anything more."""
        handle = self.picked(pick, edits=True)
        if handle is None:
            return
        assert handle.edit is not None
        self.handles.remove(handle)
        handle.aborted = True
        self.loop.run_until_complete(handle.file.abort())
        handle.edit.users -= 1
        self.bury()

    @rule(pick=picks)
    def close_reader(self, pick: int) -> None:
        """Close a reader."""
        handle = self.picked(pick, edits=False)
        if handle is not None:
            self.handles.remove(handle)
            self.loop.run_until_complete(handle.file.close())

    @rule(pick=picks)
    def restart(self, pick: int) -> None:
        """A client ends with all its files, and another begins on the same cache."""
        client = self.clients[pick % 2]
        if client.held:
            return
        self.loop.run_until_complete(client.face.close())
        check_idle(netcache_stats(client.face))
        for handle in [handle for handle in self.handles if handle.client is client]:
            self.handles.remove(handle)
        for edit in self.edits:
            if edit.owner == client.name:
                edit.users, edit.may_send = 0, False
        client.restart()
