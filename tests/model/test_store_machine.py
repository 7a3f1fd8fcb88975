"""The store against a byte array, in any order of operations, on real filesystems.

Two stores share the directory, as two processes do.  Every version that ever was is kept: whatever
version an object says it is, each byte that occupancy calls cached must be that version's byte.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from netcache._cachefiles.store import bind
from netcache._core.content import WriteKind
from netcache._core.keys import ObjectKey
from netcache._fscache.ports import CacheObject, CacheStore
from tests.support.bytemodel import ByteModel, pattern
from tests.support.epochs import in_epoch
from tests.support.filesystems import FILESYSTEMS, LoopFilesystems, Unavailable, discard
from tests.support.samples import sample_size
from tests.support.stores import CHECKED_S, VOLUME, cached, check, fill_from, served, text, version

BLOCKS = 6
KEYS = [ObjectKey(VOLUME, b"one"), ObjectKey(VOLUME, b"folder/two words")]
SHRINKS = bool(os.environ.get("NETCACHE_TEST_SHRINK"))
"""Shrinking a failure takes minutes: it is done on request only."""
PROFILE = settings(
    max_examples=sample_size(40, 400),
    phases=[phase for phase in Phase if phase is not Phase.shrink or SHRINKS],
    stateful_step_count=50,
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)

picks = st.integers(0, 7)
block_numbers = st.integers(0, BLOCKS - 1)
borders = st.tuples(st.integers(0, BLOCKS), st.sampled_from([-1, 0, 1, 100]))


class Pending:
    """Blocks that were written and are not collected yet."""

    def __init__(self, first: int, last: int, kind: WriteKind, *, rubbish: bool) -> None:
        self.first, self.last, self.kind, self.rubbish = first, last, kind, rubbish


class Handle:
    """An open object with the bytes that it must show."""

    def __init__(self, which: int, cache_object: CacheObject, model: ByteModel) -> None:
        self.which = which
        self.object = cache_object
        self.model = model
        self.pending: list[Pending] = []
        self.modified = False


def when(
    condition: Callable[[StoreMachine], object],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a step do nothing unless ``condition`` holds.

    A precondition would make which steps may be drawn depend on the filesystem: how much it
    allocates, and so what is culled, differs from run to run.
    """

    def guarded(step: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(step)
        def run(self: StoreMachine, **drawn: object) -> None:
            if condition(self):
                step(self, **drawn)

        return run

    return guarded


class StoreMachine(RuleBasedStateMachine):
    """Two stores, two keys, and all versions there ever were."""

    filesystems: ClassVar[LoopFilesystems]
    name: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.directory = self.filesystems.directory(self.name)
        self.epoch = 0
        self.steps = 0
        self.bindings = 0
        self.stores = [self.bound(), self.bound()]
        self.block = self.stores[0].block_size
        self.handles: list[Handle] = []
        self.versions: dict[str, ByteModel] = {}
        self.current: dict[ObjectKey, str] = {}

    def bound(self) -> CacheStore:
        """One more store on the directory; every other one has tables of sums from 3 blocks on."""
        self.bindings += 1
        store: CacheStore = bind(
            self.directory,
            block_size=FILESYSTEMS[self.name].block_size,
            fileops=in_epoch(self.epoch),
            sync="lazy" if self.epoch % 2 == 0 else "commit",
            sums_in_label=64 if self.bindings % 2 else 2,
        )
        return store

    def teardown(self) -> None:
        """Check a last time, close everything, remove the directory."""
        for handle in self.handles:
            assert handle.model.wrong_parts(served(handle.object)) == []
        for store in self.stores:
            store.close()
        discard(self.directory)

    def position(self, border: tuple[int, int]) -> int:
        """A position around a border of blocks."""
        return max(0, border[0] * self.block + border[1])

    def new_version(self, key: ObjectKey, size: int, model: ByteModel | None = None) -> str:
        """A version that the server has from now on."""
        tag = f"v{len(self.versions)}"
        self.versions[tag] = model or text(size, seed=len(self.versions))
        self.current[key] = tag
        return tag

    def hold(self, which: int, cache_object: CacheObject | None) -> None:
        """Keep an opened object, with the model of the version that it claims."""
        if cache_object is None:
            return
        tag = cache_object.version.validator.value.strip('"')
        assert tag in self.versions
        self.handles.append(Handle(which, cache_object, self.versions[tag]))

    def release(self, handle: Handle) -> None:
        """Close a handle and forget it."""
        handle.object.close()
        self.handles.remove(handle)

    def pick(self, number: int) -> Handle:
        """One of the open handles."""
        return self.handles[number % len(self.handles)]

    def rubbish_blocks(self, key: ObjectKey) -> set[int]:
        """Blocks that hold rubbish until they are cancelled."""
        return {
            number
            for handle in self.handles
            if handle.object.key == key
            for pending in handle.pending
            if pending.rubbish
            for number in range(pending.first, pending.last)
        }

    @rule(which=st.integers(0, 1), name=st.sampled_from(KEYS), border=borders)
    def create(self, which: int, name: ObjectKey, border: tuple[int, int]) -> None:
        """A new version appears, and an empty object for it."""
        size = self.position(border)
        tag = self.new_version(name, size)
        made = self.stores[which].create(name, version(size, tag), checked_s=CHECKED_S)
        assert not cached(made)
        self.hold(which, made)

    @rule(which=st.integers(0, 1), name=st.sampled_from(KEYS))
    def create_again(self, which: int, name: ObjectKey) -> None:
        """An object for the version that is current already."""
        if name not in self.current:
            return
        tag = self.current[name]
        wanted = version(self.versions[tag].size, tag)
        self.hold(which, self.stores[which].create(name, wanted, checked_s=CHECKED_S))

    @rule(which=st.integers(0, 1), name=st.sampled_from(KEYS), border=borders)
    def put(self, which: int, name: ObjectKey, border: tuple[int, int]) -> None:
        """A whole object, front to back."""
        size = self.position(border)
        tag = self.new_version(name, size)
        new = self.stores[which].begin(name)
        middle = size // 3
        new.write(self.versions[tag].part(0, middle))
        new.write(self.versions[tag].part(middle, size))
        self.hold(which, new.publish(version(size, tag), checked_s=CHECKED_S))

    @rule(which=st.integers(0, 1), name=st.sampled_from(KEYS))
    def lookup(self, which: int, name: ObjectKey) -> None:
        """Open whatever is stored, in either process."""
        self.hold(which, self.stores[which].lookup(name))

    @rule(pick=picks)
    @when(lambda self: self.handles)
    def close(self, pick: int) -> None:
        """Let go of an object, whatever it was in the middle of."""
        self.release(self.pick(pick))

    @rule(pick=picks, first=block_numbers, count=st.integers(1, 3))
    @when(lambda self: self.handles)
    def fill(self, pick: int, first: int, count: int) -> None:
        """Download some blocks and record them at once."""
        handle = self.pick(pick)
        started = self.start_fill(handle, first, count, WriteKind.DATA)
        if started is not None:
            self.finish(handle, started)

    @rule(pick=picks, first=block_numbers, count=st.integers(1, 2), kind=st.sampled_from(WriteKind))
    @when(lambda self: self.handles)
    def begin_fill(self, pick: int, first: int, count: int, kind: WriteKind) -> None:
        """Write blocks, or skip them, to be collected later."""
        self.start_fill(self.pick(pick), first, count, kind)

    def start_fill(self, handle: Handle, first: int, count: int, kind: WriteKind) -> Pending | None:
        """Issue the writes of a run that lies in the resource, if nobody's rubbish is there."""
        last = min(first + count, -(-handle.model.size // self.block))
        run = set(range(first, last))
        if not run or run & self.rubbish_blocks(handle.object.key):
            return None
        low, high = first * self.block, last * self.block
        others = [h for h in self.handles if h is not handle and h.object.key == handle.object.key]
        rubbish = (
            kind is WriteKind.CANCEL
            and not handle.pending
            and not others
            and not cached(handle.object).within(low, high)
        )
        if rubbish:
            handle.object.write_blocks(low, b"\xff" * (min(high, handle.model.size) - low))
        elif kind is not WriteKind.GAP:
            handle.object.write_blocks(low, handle.model.part(low, high))
        pending = Pending(first, last, kind, rubbish=rubbish)
        handle.pending.append(pending)
        return pending

    @rule(pick=picks, run=picks)
    @when(lambda self: any(handle.pending for handle in self.handles))
    def collect(self, pick: int, run: int) -> None:
        """Record one of the runs that are under way, in any order."""
        waiting = [handle for handle in self.handles if handle.pending]
        handle = waiting[pick % len(waiting)]
        self.finish(handle, handle.pending[run % len(handle.pending)])

    def finish(self, handle: Handle, pending: Pending) -> None:
        """Collect a run."""
        handle.pending.remove(pending)
        low, high = pending.first * self.block, pending.last * self.block
        handle.object.collect_write(pending.kind, low, high)

    def modifiable(self, pick: int) -> Handle:
        """A handle that may be modified: nothing of it under way, DIRTY; others may be open."""
        handle = self.pick(pick)
        if not handle.modified:
            for pending in list(handle.pending):
                self.finish(handle, pending)
            handle.object.begin_modify()
            handle.modified = True
            handle.model = ByteModel(bytes(handle.model.data))
        return handle

    @rule(pick=picks, border=borders, length=st.sampled_from([1, 100, 513]), whole=st.booleans())
    @when(lambda self: self.handles)
    def write(self, pick: int, border: tuple[int, int], length: int, whole: bool) -> None:
        """A local write, rounded by the store; the gaps come from the server."""
        handle = self.modifiable(pick)
        if handle.pending:
            return
        start = self.position(border)
        data = pattern(start, start + length + whole * self.block, seed=1000 + len(self.versions))
        handle.object.write(start, data, fill_from(handle.model))
        handle.model.write(start, data)

    @rule(pick=picks, border=borders)
    @when(lambda self: self.handles)
    def truncate(self, pick: int, border: tuple[int, int]) -> None:
        """Cut or extend."""
        handle = self.modifiable(pick)
        if handle.pending:
            return
        size = self.position(border)
        handle.object.truncate(size)
        handle.model.truncate(size)

    @rule(pick=picks)
    @when(lambda self: self.handles)
    def scribble(self, pick: int) -> None:
        """Rubbish in the padding of the last block, as a mapping may leave it."""
        handle = self.pick(pick)
        end = os.fstat(handle.object.fileno()).st_size
        if handle.object.size < end and not handle.pending:
            rubbish = b"\xfe" * (end - handle.object.size)
            os.pwrite(handle.object.fileno(), rubbish, handle.object.size)

    @rule(pick=picks)
    @when(lambda self: any(handle.modified for handle in self.handles))
    def commit(self, pick: int) -> None:
        """The modification is at the server: it is a version from now on."""
        waiting = [handle for handle in self.handles if handle.modified]
        handle = waiting[pick % len(waiting)]
        for pending in list(handle.pending):
            self.finish(handle, pending)
        tag = self.new_version(handle.object.key, handle.model.size, handle.model)
        handle.object.commit(version(handle.model.size, tag))
        handle.modified = False
        assert handle.object.version == version(handle.model.size, tag)

    @rule(pick=picks, border=borders)
    @when(lambda self: self.handles)
    def invalidate(self, pick: int, border: tuple[int, int]) -> None:
        """The server has something else: begin anew under the same handle."""
        handle = self.pick(pick)
        size, counter = self.position(border), handle.object.inval_counter
        tag = self.new_version(handle.object.key, size)
        handle.object.invalidate(version(size, tag))
        assert handle.object.inval_counter != counter
        handle.model, handle.modified = self.versions[tag], False
        handle.pending.clear()

    @rule(which=st.integers(0, 1), name=st.sampled_from(KEYS))
    def drop(self, which: int, name: ObjectKey) -> None:
        """Forget the object; readers keep theirs."""
        self.stores[which].drop(name)
        assert self.stores[which].lookup(name) is None

    @rule(which=st.integers(0, 1))
    def cull(self, which: int) -> None:
        """Make all the room there can be."""
        self.stores[which].cull(0)

    @rule(which=st.integers(0, 1), reboot=st.booleans())
    def restart(self, which: int, reboot: bool) -> None:
        """A process ends and comes back; or the machine does, and both have to."""
        self.epoch += reboot
        for number in {which, 1 - which} if reboot else {which}:
            self.handles = [handle for handle in self.handles if handle.which != number]
            self.stores[number].close()
            self.stores[number] = self.bound()

    @invariant()
    def every_served_byte_is_right(self) -> None:
        """At rest all invariants hold; at any time what is served is true.

        Only one process looks at a time, or none: looking brings its knowledge up to date.
        """
        self.steps += 1
        for handle in [handle for handle in self.handles if handle.which == self.steps % 3]:
            if any(other.pending for other in self.handles):
                assert handle.model.wrong_parts(served(handle.object)) == []
            else:
                check(handle.object, handle.model)
            assert handle.object.size == handle.model.size


@pytest.mark.parametrize("name", list(FILESYSTEMS))
def test_the_store_matches_the_byte_array(name: str, loop_filesystems: LoopFilesystems) -> None:
    """No sequence of operations makes any cached byte differ from the version's byte."""
    try:
        discard(Path(loop_filesystems.directory(name)))
    except Unavailable as reason:
        pytest.skip(f"no {name}: {reason}")
    machine = type("Machine", (StoreMachine,), {"filesystems": loop_filesystems, "name": name})
    run_state_machine_as_test(machine, settings=PROFILE)
