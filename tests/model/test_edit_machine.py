"""Writable files against byte arrays: two clients, several handles, other writers, lost replies.

The clients share a cache directory and a server in memory; time is virtual, and what is ready runs
in an order drawn from a seed.  Uploads may be held: then other steps go on beside them.  The rules
that everything is held against are those of ``tests.support.edit_model``.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

import netcache
from tests.support.edit_model import THIRD_PARTY, marked
from tests.support.edit_opening import EditOpening, lengths, picks, places, seeds, sizes
from tests.support.edit_world import FOREIGN, Handle, outcome

SHRINKS = bool(os.environ.get("NETCACHE_TEST_SHRINK"))
"""Shrinking a failure takes minutes: it is done on request only."""
PROFILE = settings(
    max_examples=40,
    phases=[phase for phase in Phase if phase is not Phase.shrink or SHRINKS],
    print_blob=True,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def _lost() -> Exception:
    return netcache.TransientError("no reply came")


class EditMachine(EditOpening):
    """Two clients that read and write one resource, and what happens to them meanwhile."""

    # Reading and writing.

    @rule(pick=picks, place=places, length=lengths)
    def read(self, pick: int, place: int, length: int) -> None:
        """Any handle shows its own bytes."""
        if not self.handles:
            return
        handle = self.handles[pick % len(self.handles)]
        task = asyncio.ensure_future(outcome(handle.file.pread(length, place)), loop=self.loop)
        self.loop.run_ready(task.done)
        if not task.done() and handle.client.held:
            # It waits for our own upload, to learn which version that makes.
            self.release(self.clients.index(handle.client))
        self.finish(task)
        self.look_after()
        if handle.edit is None:
            self.judge_reader(handle, task, place, length)
            return
        error = task.exception()
        if error is None:
            assert handle.edit.shows(place, length, task.result()), "wrong bytes"
        elif isinstance(error, FOREIGN):
            assert handle.edit.foreign, repr(error)
        else:
            assert isinstance(error, netcache.TransientError), repr(error)
            assert handle.client.armed or handle.edit.doubtful, repr(error)

    @rule(
        pick=picks,
        place=places,
        length=lengths,
        seed=seeds,
        how=st.sampled_from(["plain", "plain", "plain", "dsync", "atomic"]),
    )
    def write(self, pick: int, place: int, length: int, seed: int, how: str) -> None:
        """Write somewhere, also past the end."""
        handle = self.picked(pick, edits=True)
        if handle is None or self.stands_still(handle) or (handle.client.held and how != "plain"):
            return
        edit = handle.edit
        assert edit is not None
        data = marked(place, length, seed, handle.client.mark)
        view = edit.written(place, data)
        edit.foresee(view, place, place + length)
        options = {} if how == "plain" else {how: True}
        since = len(edit.states) - 1

        def then(task: asyncio.Task[Any]) -> None:
            if task.cancelled() or task.exception() is not None:
                self.judge(handle, task, since)
                self.find_out(handle, place, data, view)
                return
            edit.view = view
            if how != "plain":
                self.judge(handle, task, since)

        self.run(handle, handle.file.pwrite(data, place, **options), then)

    def find_out(self, handle: Handle, place: int, data: bytes, view: bytes) -> None:
        """A write failed: it is in the file, or not."""
        reading = asyncio.ensure_future(handle.file.pread(len(data), place), loop=self.loop)
        self.finish(reading)
        assert handle.edit is not None
        if reading.exception() is None and reading.result() == data:
            handle.edit.view = view

    @rule(pick=picks, size=sizes)
    def truncate(self, pick: int, size: int) -> None:
        """Cut, or extend."""
        handle = self.picked(pick, edits=True)
        if handle is None or self.stands_still(handle):
            return
        edit = handle.edit
        assert edit is not None
        view = edit.view[:size].ljust(size, b"\0")
        edit.foresee(view, size)

        def then(task: asyncio.Task[Any]) -> None:
            if not task.cancelled():
                assert task.exception() is None, repr(task.exception())
                edit.view = view

        self.run(handle, handle.file.truncate(size), then)

    @rule(pick=picks)
    def fsync(self, pick: int) -> None:
        """What was written before is at the server after, or it is told why not."""
        handle = self.picked(pick, edits=True)
        if handle is None:
            return
        edit = handle.edit
        assert edit is not None
        since = len(edit.states) - 1

        def then(task: asyncio.Task[Any]) -> None:
            self.judge(handle, task, since)
            handle.heard_all = not handle.client.armed

        self.run(handle, handle.file.fsync(), then)

    # What else happens.

    @rule(seconds=st.sampled_from([1, 6, 20]))
    def wait(self, seconds: int) -> None:
        """Time passes: what is dirty is sent."""
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @rule(seed=seeds, size=sizes, how=st.sampled_from(["replace", "poke", "delete"]))
    def somebody_writes(self, seed: int, size: int, how: str) -> None:
        """Another program changes the resource."""
        data: bytes | None = marked(0, size, seed, 3)
        if how == "poke" and self.hub.data is not None:
            end = size + 10
            data = self.hub.data[:size].ljust(size, b"\3") + marked(size, 10, seed, 3)
            data += self.hub.data[end:]
        if how == "delete":
            data = None
        if data is not None or self.hub.data is not None:
            self.hub.store_as(THIRD_PARTY, data)

    @rule(
        pick=picks,
        verb=st.sampled_from(["update", "put", "read", "stat", "body", "*"]),
        after=st.booleans(),
        skip=st.integers(0, 2),
        place=places,
    )
    def lose(self, pick: int, verb: str, after: bool, skip: int, place: int) -> None:
        """A request of a client, or its reply, is going to be lost: perhaps of this ``fsync``."""
        client = self.clients[pick % 2]
        client.seat.answers.fail(verb, _lost, count=1, skip=skip, after=after)
        client.armed = True
        for handle in self.handles:
            if handle.client is client:
                handle.heard_all = False
        for edit in self.edits:
            edit.doubtful |= edit.owner == client.name
        if place % 2:
            self.write(pick, place, 10, 5, "plain")
            self.fsync(pick)

    @rule(pick=picks, after=st.booleans(), place=places, seed=seeds)
    def hold(self, pick: int, after: bool, place: int, seed: int) -> None:
        """The next upload of a client is going to stand still: perhaps that of this ``fsync``."""
        handle = self.picked(pick, edits=True)
        if handle is None or handle.client.held:
            return
        client = handle.client
        verbs = ("update", "put")
        client.held = [client.seat.answers.hold(verb, after=after) for verb in verbs]
        if place % 4:
            self.write(pick, place, 100, seed, "plain")
            self.fsync(pick)

    @rule(pick=picks, cancel=st.booleans())
    def go_on(self, pick: int, cancel: bool) -> None:
        """What was held goes on; or who waits for it is cancelled first."""
        client = self.clients[pick % 2]
        if cancel and client.pending:
            client.pending[0][0].cancel()
            self.loop.run_ready(client.pending[0][0].done)
        self.release(pick % 2)

    @rule(pick=picks)
    def settle(self, pick: int) -> None:
        """Without trouble an ``fsync`` succeeds, at the latest when the old error was told."""
        handle = self.picked(pick, edits=True)
        if handle is None:
            return
        edit, client = handle.edit, handle.client
        assert edit is not None
        self.release(self.clients.index(client))
        client.seat.answers.clear()
        client.armed = False
        for _ in range(2):
            edit.sending += 1
            task = asyncio.ensure_future(handle.file.fsync(), loop=self.loop)
            self.finish(task)
            edit.sending -= 1
            if self.judge(handle, task, len(edit.states) - 1):
                handle.heard_all = True
                break
            if edit.foreign:
                return
        else:
            raise AssertionError(f"fsync goes on failing: {task.exception()!r}")
        if not edit.foreign:
            edit.states[:] = [edit.view]
            edit.cuts.clear()


@pytest.mark.parametrize("use_cache", [True, False], ids=["cache", "no-cache"])
@pytest.mark.parametrize("updates", [True, False], ids=["parts", "whole"])
def test_writable_files_lose_nothing_and_overwrite_nobody(use_cache: bool, updates: bool) -> None:
    """Any order of opens, writes, cuts, uploads that fail or stand still, and other writers."""
    machine = type("Machine", (EditMachine,), {"use_cache": use_cache, "updates": updates})
    run_state_machine_as_test(machine, settings=PROFILE)
