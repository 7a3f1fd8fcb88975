"""Writable files against byte arrays: two clients, several handles, other writers, lost replies.

The clients share a cache directory and a server in memory; time is virtual, and what is ready runs
in an order drawn from a seed.  Uploads may be held: then other steps go on beside them.  The rules
that everything is held against are those of ``tests.support.edit_model``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import netcache
from netcache.backends.memory import MemoryBackend
from netcache.backends.memory_answers import Held
from tests.support.edit_model import THIRD_PARTY, B, Edit, Hub, Seat, marked
from tests.support.leaks import check_idle
from tests.support.schedules import ScheduledLoop

URL = "http://memory.invalid/data"
SIZE_MAX = 400 * 1024
HANDLES_MAX = 6
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
FOREIGN = (
    netcache.ConflictError,
    netcache.StaleError,
    netcache.NotFoundError,
    netcache.RemoteProtocolError,
)
"""What may be told when somebody else changed the resource."""

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


class Client:
    """A client, its seat at the server, and what is held of its uploads."""

    def __init__(self, name: str, mark: int, hub: Hub, options: dict[str, Any]) -> None:
        self.name, self.mark = name, mark
        self.seat = Seat(hub, name)
        self.options = options
        self.face = self._open()
        self.held: list[Held] = []
        self.armed = False
        self.pending: list[tuple[asyncio.Task[Any], Callable[[asyncio.Task[Any]], None]]] = []

    def _open(self) -> netcache.AsyncClient:
        return netcache.AsyncClient(backend=lambda: MemoryBackend(self.seat), **self.options)

    def restart(self) -> None:
        """Go on with a new client."""
        self.face = self._open()


class Handle:
    """An open file: of an edit, or a reader with the versions that it may be showing."""

    def __init__(self, client: Client, file: Any, edit: Edit | None, versions: set[int]) -> None:
        self.client, self.file, self.edit = client, file, edit
        self.versions = versions
        self.bound = False
        self.heard_all = not client.armed
        self.aborted = False


def _lost() -> Exception:
    return netcache.TransientError("no reply came")


class EditMachine(RuleBasedStateMachine):
    """Two clients, one resource."""

    use_cache: ClassVar[bool]
    updates: ClassVar[bool]

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
        self.loop = ScheduledLoop(seed)
        self.unheard: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.unheard.append(str(context)))
        asyncio.set_event_loop(self.loop)
        self.folder = tempfile.mkdtemp()
        self.hub = Hub(URL, updates=self.updates, tells_versions=tells_versions)
        self.hub.store_as(THIRD_PARTY, marked(0, size, 1, 3))
        self.hub.on_store = self.on_store
        self.edits: list[Edit] = []
        self.handles: list[Handle] = []
        self.wrong: list[str] = []
        self.clients = [
            Client(
                f"client {number}",
                number,
                self.hub,
                {
                    "cache_dir": self.folder,
                    "use_cache": self.use_cache,
                    "write_mode": mode,
                    "dirty_hard": hard,
                    "dirty_soft": hard // 2,
                    "retries": 0,
                    "readahead": 0,
                },
            )
            for number, mode in enumerate(modes, 1)
        ]
        for pick, mode in opens:
            self.open(pick, mode)

    # The server's side.

    def on_store(self, actor: str, before: bytes | None, data: bytes | None) -> None:
        """The server has a new version: some edit of the actor must explain it."""
        maker: Edit | None = None
        if actor != THIRD_PARTY:
            assert data is not None
            own = [edit for edit in self.edits if edit.owner == actor]
            own.sort(key=lambda edit: not edit.private)
            maker = next((edit for edit in own if edit.stored(before, data)), None)
            if maker is None:
                self.wrong.append(f"{actor} made a version that no edit of it explains")
        for edit in self.edits:
            if edit is not maker:
                edit.somebody_stored(data)

    # Running things.

    def run(
        self,
        handle: Handle,
        work: Awaitable[Any],
        then: Callable[[asyncio.Task[Any]], None],
    ) -> None:
        """Do ``work``, and ``then`` what it means; later, when an upload that is held is in the
        way."""
        client, edit = handle.client, handle.edit
        assert edit is not None
        edit.sending += 1

        def ended(task: asyncio.Task[Any]) -> None:
            edit.sending -= 1
            then(task)

        task = asyncio.ensure_future(_of(work), loop=self.loop)
        self.loop.run_ready(task.done)
        if not task.done() and any(held.arrived.is_set() for held in client.held):
            client.pending.append((task, ended))
        else:
            self.finish(task)
            ended(task)

    def finish(self, task: asyncio.Task[Any]) -> None:
        """Let time pass until the task is done."""
        if not task.done():
            self.loop.run_until_complete(asyncio.wait([task], timeout=600))
        assert task.done(), f"{task} does not end"

    def look_after(self) -> None:
        """What was held and is done now has its meaning."""
        for client in self.clients:
            done = [entry for entry in client.pending if entry[0].done()]
            client.pending = [entry for entry in client.pending if not entry[0].done()]
            for task, then in done:
                then(task)

    def judge(self, handle: Handle, task: asyncio.Task[Any], since: int) -> bool:
        """Hold the end of a task that sends against the model; whether it succeeded."""
        edit = handle.edit
        assert edit is not None
        if task.cancelled():
            edit.doubtful = True
            return False
        error = task.exception()
        if error is None:
            assert edit.arrived(self.hub.data, since), "a success, and the server has it not"
            if not handle.client.armed:
                edit.doubtful = False
            return True
        if isinstance(error, FOREIGN):
            assert edit.foreign, f"nobody else wrote: {error!r}"
        elif not (handle.aborted and isinstance(error, netcache.ClosedError)):
            assert isinstance(error, netcache.TransientError), repr(error)
            assert edit.doubtful or not handle.heard_all, f"nothing was lost: {error!r}"
        return False

    def picked(self, pick: int, *, edits: bool) -> Handle | None:
        """One of the handles."""
        fit = [handle for handle in self.handles if (handle.edit is not None) == edits]
        if not fit and edits:
            self.open(pick, "r+b" if self.hub.data is not None else "ab")
            fit = [handle for handle in self.handles if handle.edit is not None]
        return fit[pick % len(fit)] if fit else None

    @staticmethod
    def stands_still(handle: Handle) -> bool:
        """Whether an upload of its client is held: a change would have to wait."""
        return bool(handle.client.pending)

    # Opening and closing.

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

    def bury(self) -> None:
        """Edits without users send nothing more, once nothing of theirs is held."""
        for edit in self.edits:
            client = next(one for one in self.clients if one.name == edit.owner)
            if not edit.users and not client.held:
                edit.may_send = False

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

    # Reading and writing.

    @rule(pick=picks, place=places, length=lengths)
    def read(self, pick: int, place: int, length: int) -> None:
        """Any handle shows its own bytes."""
        if not self.handles:
            return
        handle = self.handles[pick % len(self.handles)]
        task = asyncio.ensure_future(_of(handle.file.pread(length, place)), loop=self.loop)
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

    def judge_reader(
        self, handle: Handle, task: asyncio.Task[Any], place: int, length: int
    ) -> None:
        """A reader shows one version, not older than its open (P1)."""
        log = self.hub.log
        since = range(min(handle.versions), len(log))
        error = task.exception()
        if error is not None:
            stale = isinstance(error, netcache.StaleError) and len(since) > 1
            gone = isinstance(error, netcache.NotFoundError) and any(log[n] is None for n in since)
            lost = isinstance(error, netcache.TransientError) and handle.client.armed
            assert stale or gone or lost, repr(error)
            return
        if not handle.bound:
            handle.versions = {n for n in since if log[n] is not None}
            handle.bound = True
        handle.versions = {
            n for n in handle.versions if (log[n] or b"")[place : place + length] == task.result()
        }
        assert handle.versions, "a reader shows bytes of no version, or of two"

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

    def release(self, number: int) -> None:
        """Let all that is held of a client go on to its end."""
        client = self.clients[number]
        for held in client.held:
            held.release()
        self.loop.run_ready()
        for task, _ in client.pending:
            self.finish(task)
        self.look_after()
        if client.held and not client.armed:
            client.seat.answers.clear()
        client.held = []
        self.bury()

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

    @invariant()
    def nothing_is_wrong(self) -> None:
        """No version without an explanation, and no error that nobody heard of."""
        if hasattr(self, "wrong"):
            self.look_after()
            assert not self.wrong, self.wrong
            assert not self.unheard, self.unheard

    def teardown(self) -> None:
        """Close everything: nothing is left over."""
        if not hasattr(self, "clients"):
            return
        try:
            for number, client in enumerate(self.clients):
                self.release(number)
                client.seat.answers.clear()
                self.loop.run_until_complete(client.face.close())
                check_idle(netcache_stats(client.face))
            self.loop.run_ready()
            left = asyncio.all_tasks(self.loop)
            assert not left, left
            self.nothing_is_wrong()
        finally:
            self.loop.close()
            asyncio.set_event_loop(None)
            shutil.rmtree(self.folder)


async def _of(work: Awaitable[Any]) -> Any:
    return await work


def netcache_stats(face: netcache.AsyncClient) -> Any:
    """The counters themselves."""
    return face._core.stats


@pytest.mark.parametrize("use_cache", [True, False], ids=["cache", "no-cache"])
@pytest.mark.parametrize("updates", [True, False], ids=["parts", "whole"])
def test_writable_files_lose_nothing_and_overwrite_nobody(use_cache: bool, updates: bool) -> None:
    """Any order of opens, writes, cuts, uploads that fail or stand still, and other writers."""
    machine = type("Machine", (EditMachine,), {"use_cache": use_cache, "updates": updates})
    run_state_machine_as_test(machine, settings=PROFILE)
