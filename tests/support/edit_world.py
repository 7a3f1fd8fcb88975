"""What the clients of the model of writable files live in: a server, time, and what is judged.

The rules that everything is held against are those of ``tests.support.edit_model``.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from hypothesis.stateful import RuleBasedStateMachine, invariant

import netcache
from netcache.backends.memory import MemoryBackend
from netcache.backends.memory_answers import Held
from tests.support.edit_model import THIRD_PARTY, Edit, Hub, Seat, marked
from tests.support.leaks import check_idle
from tests.support.schedules import ScheduledLoop

URL = "http://memory.invalid/data"
FOREIGN = (
    netcache.ConflictError,
    netcache.StaleError,
    netcache.NotFoundError,
    netcache.RemoteProtocolError,
)
"""What may be told when somebody else changed the resource."""


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


class EditWorld(RuleBasedStateMachine):
    """Two clients and one resource: how things run there, and what is right."""

    use_cache: ClassVar[bool]
    updates: ClassVar[bool]

    def set_up(
        self, seed: int, size: int, tells_versions: bool, modes: tuple[str, str], hard: int
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

        task = asyncio.ensure_future(outcome(work), loop=self.loop)
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

    def bury(self) -> None:
        """Edits without users send nothing more, once nothing of theirs is held."""
        for edit in self.edits:
            client = next(one for one in self.clients if one.name == edit.owner)
            if not edit.users and not client.held:
                edit.may_send = False

    # Judging.

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

    @staticmethod
    def stands_still(handle: Handle) -> bool:
        """Whether an upload of its client is held: a change would have to wait."""
        return bool(handle.client.pending)

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


async def outcome(work: Awaitable[Any]) -> Any:
    """What ``work`` returns."""
    return await work


def netcache_stats(face: netcache.AsyncClient) -> Any:
    """The counters themselves."""
    return face._core.stats
