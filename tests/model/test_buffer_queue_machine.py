"""Buffer queues against dictionaries of cells, in any order of operations.

The model of a queue says which cell of memory lies at which file position.  A slice has the same
cells: what is written to one shows in all that share it.  In the end nothing may be alive, and
every buffer that a caller had passed must be his again.
"""

from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from netcache._core.extent import Extent
from netcache._netfs.buffer_extract import extract
from netcache._netfs.buffer_queue import BufferQueue
from netcache._netfs.queue_rounding import rounded_out
from netcache._netfs.segment_array import Disposal
from tests.support.queues import CountedArena, resizable

PROFILE = settings(max_examples=100, stateful_step_count=40, deadline=None)
QUEUES_MAX = 6
LENGTH_MAX = 40
BLOCK = 16

picks = st.integers(0, 11)
lengths = st.integers(1, LENGTH_MAX)
gaps = st.sampled_from([0, 0, 0, 1, 9])
shares = st.integers(0, 32)
"""A place in a queue, in 32nds of the way from its start to its end."""


class Cell:
    """A byte of memory; ``owner`` numbers the caller's buffer that it is in, if it is in one."""

    def __init__(self, byte: int = 0, owner: int = -1, *, constant: bool = False) -> None:
        self.byte = byte
        self.owner = owner
        self.constant = constant


class Model:
    """What a queue must be: cells by file position, its ends, and how far each stream is."""

    def __init__(self, queue: BufferQueue, start: int, streams: int = 0) -> None:
        self.queue = queue
        self.cells: dict[int, Cell] = {}
        self.start = self.end = start
        self.dispatched = [start] * streams

    def put(self, at: int, cells: list[Cell]) -> None:
        """Cells at the end; cursors that waited there go on to them."""
        waiting = self.end
        self.cells.update(zip(itertools.count(at), cells, strict=False))
        self.end = at + len(cells)
        self.start = at if self.start == waiting else self.start
        self.dispatched = [at if one == waiting else one for one in self.dispatched]

    def forward(self, position: int) -> int:
        """The first cell that is not before ``position``, or the end."""
        return min((place for place in self.cells if place >= position), default=self.end)

    def place(self, share: int) -> int:
        """A file position of the queue."""
        return self.start + (self.end - self.start) * share // 32

    def runs(self, start: int, end: int) -> list[Extent]:
        """The contiguous pieces of what is there."""
        runs: list[Extent] = []
        for position in sorted(self.cells):
            if not start <= position < end:
                continue
            if runs and runs[-1].end == position:
                runs[-1] = Extent(runs[-1].start, position + 1)
            else:
                runs.append(Extent(position, position + 1))
        return runs

    def text(self, start: int, end: int) -> bytes:
        """The bytes of a run."""
        return bytes(self.cells[position].byte for position in range(start, end))


class BufferQueueMachine(RuleBasedStateMachine):
    """A few queues that share memory."""

    def __init__(self) -> None:
        super().__init__()
        self.arena = CountedArena()
        self.models: list[Model] = []
        self.buffers: list[bytearray] = []
        self.bytes = itertools.cycle(range(1, 256))

    def teardown(self) -> None:
        """Close everything; nothing is left."""
        for model in self.models:
            model.queue.close()
        assert self.arena.alive == 0
        assert all(map(resizable, self.buffers))

    def pick(self, number: int) -> Model:
        """One of the queues."""
        return self.models[number % len(self.models)]

    def new_buffer(self, length: int) -> tuple[bytearray, list[Cell]]:
        """A caller's buffer and its cells."""
        buffer = bytearray(next(self.bytes) for _ in range(length))
        self.buffers.append(buffer)
        return buffer, [Cell(byte, len(self.buffers) - 1) for byte in buffer]

    def hold(self, model: Model) -> None:
        """Keep a queue; the oldest goes when there are many."""
        self.models.append(model)
        if len(self.models) > QUEUES_MAX:
            self.models.pop(0).queue.close()

    @rule(start=st.integers(0, 50), streams=st.integers(0, 2), slots=st.integers(1, 4))
    def new(self, start: int, streams: int, slots: int) -> None:
        """An empty queue."""
        queue = BufferQueue(self.arena, start, streams=streams, slots=slots)
        self.hold(Model(queue, start, streams))

    @rule(sizes=st.lists(st.integers(0, 20), max_size=4), start=st.integers(0, 50))
    def extract(self, sizes: list[int], start: int) -> None:
        """A queue over several buffers."""
        made = [self.new_buffer(size) for size in sizes]
        queue = extract(self.arena, [buffer for buffer, _ in made], start, streams=1)
        model = Model(queue, start, 1)
        cells = [cell for _, cells in made for cell in cells]
        if cells:
            model.put(start, cells)
        self.hold(model)

    @precondition(lambda self: self.models)
    @rule(pick=picks, length=lengths, gap=gaps)
    def pin(self, pick: int, length: int, gap: int) -> None:
        """A caller's buffer goes in."""
        model = self.pick(pick)
        buffer, cells = self.new_buffer(length)
        at = model.end + gap
        model.queue.append([memoryview(buffer)], Disposal.PINNED, at=at)
        model.put(at, cells)

    @precondition(lambda self: self.models)
    @rule(pick=picks, length=lengths, gap=gaps, segment=st.integers(1, 50))
    def allocate(self, pick: int, length: int, gap: int, segment: int) -> None:
        """Memory of its own."""
        model = self.pick(pick)
        at = model.end + gap
        model.queue.allocate(length, at=at, segment_bytes=segment)
        model.put(at, [Cell() for _ in range(length)])

    @precondition(lambda self: self.models)
    @rule(pick=picks, length=lengths, gap=gaps)
    def zeros(self, pick: int, length: int, gap: int) -> None:
        """Zeros that stay zeros."""
        model = self.pick(pick)
        at = model.end + gap
        model.queue.append_zeros(length, at=at)
        model.put(at, [Cell(constant=True)] * length)

    @precondition(lambda self: self.models)
    @rule(pick=picks, low=shares, high=shares)
    def slice(self, pick: int, low: int, high: int) -> None:
        """A part over the same memory."""
        model = self.pick(pick)
        start, end = model.place(low), model.place(high)
        self.hold_part(model, model.queue.slice(start, end), start, end)

    def hold_part(self, model: Model, queue: BufferQueue, start: int, end: int) -> None:
        """Keep a queue that has the cells of another one."""
        part = Model(queue, start)
        for run in model.runs(start, end):
            part.put(run.start, [model.cells[position] for position in range(*run)])
        self.hold(part)

    @precondition(lambda self: self.models)
    @rule(pick=picks, stream=st.integers(0, 1), length=lengths, segments=st.integers(1, 3))
    def take(self, pick: int, stream: int, length: int, segments: int) -> None:
        """The next part for a stream."""
        model = self.pick(pick)
        if stream >= len(model.dispatched):
            return
        start = model.dispatched[stream]
        queue = model.queue.take(stream, length, segments=segments)
        if queue is None:
            assert start == model.end
            return
        end = queue.end
        assert len(queue.buffers(start, end)) <= segments
        assert start < end <= min(model.runs(start, start + length)[0].end, start + length)
        model.dispatched[stream] = model.forward(end)
        self.hold_part(model, queue, start, end)

    @precondition(lambda self: self.models)
    @rule(pick=picks, stream=st.integers(0, 1), share=shares)
    def skip(self, pick: int, stream: int, share: int) -> None:
        """An idle stream goes forward."""
        model = self.pick(pick)
        if stream >= len(model.dispatched):
            return
        position = model.place(share)
        model.queue.dispatch_to(stream, position)
        known = model.dispatched[stream]
        model.dispatched[stream] = max(known, model.forward(position))

    @precondition(lambda self: self.models)
    @rule(pick=picks, share=shares)
    def collect(self, pick: int, share: int) -> None:
        """Let go of what every stream has been given."""
        model = self.pick(pick)
        position = min([model.place(share), *model.dispatched])
        model.queue.collect_to(position)
        model.start = max(model.start, model.forward(position))
        model.cells = {at: cell for at, cell in model.cells.items() if at >= model.start}

    @precondition(lambda self: self.models)
    @rule(pick=picks, share=shares)
    def shorten(self, pick: int, share: int) -> None:
        """Cut off what was not dispatched."""
        model = self.pick(pick)
        end = max([model.place(share), *model.dispatched])
        model.queue.shorten(end)
        if end < model.end:
            model.cells = {at: cell for at, cell in model.cells.items() if at < end}
            model.end = max(model.cells, default=end - 1) + 1
            model.dispatched = [min(one, model.end) for one in model.dispatched]
            model.start = min(model.start, model.end)

    @precondition(lambda self: self.models)
    @rule(pick=picks, low=shares, high=shares)
    def copy_in(self, pick: int, low: int, high: int) -> None:
        """Overwrite bytes, unless some are constant or missing."""
        model = self.pick(pick)
        start, end = model.place(low), model.place(high)
        data = bytes(next(self.bytes) for _ in range(start, end))
        cells = [model.cells[at] for at in range(start, end) if at in model.cells]
        if len(cells) < end - start or any(cell.constant for cell in cells):
            error = ValueError if len(cells) < end - start else TypeError
            with pytest.raises(error):
                model.queue.copy_in(start, data)
            return
        model.queue.copy_in(start, data)
        for cell, byte in zip(cells, data, strict=True):
            cell.byte = byte

    @precondition(lambda self: self.models)
    @rule(pick=picks, low=shares, high=shares)
    def clear(self, pick: int, low: int, high: int) -> None:
        """Zeros over what is there, unless some of it is constant."""
        model = self.pick(pick)
        start, end = model.place(low), model.place(high)
        cells = [cell for at, cell in model.cells.items() if start <= at < end]
        if any(cell.constant for cell in cells):
            with pytest.raises(TypeError):
                model.queue.clear(start, end)
            return
        model.queue.clear(start, end)
        for cell in cells:
            cell.byte = 0

    @precondition(lambda self: self.models)
    @rule(pick=picks, low=shares, high=shares)
    def round_out(self, pick: int, low: int, high: int) -> None:
        """Whole blocks: the queue's bytes where it has some, told zeros elsewhere."""
        model = self.pick(pick)
        start, end = model.place(low), model.place(high)
        blocks, made_up = rounded_out(model.queue, BLOCK, start, end)
        numbers = {position // BLOCK for run in model.runs(start, end) for position in range(*run)}
        places = {number * BLOCK + n for number in numbers for n in range(BLOCK)}
        zeros = {position for extent in made_up for position in range(*extent)}
        assert {position for run in blocks.runs() for position in range(*run)} == places
        assert zeros == {position for position in places if position not in model.cells}
        rounded = Model(blocks, blocks.start)
        for run in blocks.runs():
            rounded.put(
                run.start,
                [model.cells.get(place) or Cell(constant=True) for place in range(*run)],
            )
        self.hold(rounded)

    @precondition(lambda self: self.models)
    @rule(pick=picks, low=shares, high=shares, limit=st.integers(1, 30))
    def look(self, pick: int, low: int, high: int, limit: int) -> None:
        """Every way to look at a part of a run shows the same bytes."""
        model = self.pick(pick)
        for run in model.runs(model.place(low), model.place(high)):
            text = model.text(*run)
            chunks = list(model.queue.chunks(*run, limit=limit))
            assert b"".join(chunks) == text
            assert all(0 < len(chunk) <= limit for chunk in chunks)
            assert b"".join(model.queue.buffers(*run)) == text
            few = b"".join(model.queue.buffers(*run, limit=2))
            assert few
            assert text.startswith(few)
            target = bytearray(run.length)
            model.queue.copy_out(run.start, target)
            assert target == text
            hasher = hashlib.sha256()
            model.queue.update(hasher, *run)
            assert hasher.digest() == hashlib.sha256(text).digest()

    @precondition(lambda self: self.models)
    @rule(pick=picks)
    def close(self, pick: int) -> None:
        """A queue goes; those that share its memory stay."""
        model = self.pick(pick)
        model.queue.close()
        self.models.remove(model)

    @invariant()
    def every_queue_is_its_model(self) -> None:
        """Ends, runs, bytes and cursors."""
        for model in self.models:
            runs = model.queue.runs()
            assert runs == model.runs(model.start, model.end)
            assert model.queue.length == len(model.cells)
            assert (model.queue.start, model.queue.end) == (model.start, model.end)
            for run in runs:
                assert model.queue.tobytes(*run) == model.text(*run)
            for stream, position in enumerate(model.dispatched):
                assert model.queue.dispatched(stream) == position

    @invariant()
    def what_is_looked_at_is_held(self) -> None:
        """A buffer that a queue can show is not its caller's yet."""
        seen = {cell.owner for model in self.models for cell in model.cells.values()}
        assert not any(resizable(self.buffers[owner]) for owner in seen if owner >= 0)
        if not self.models:
            assert self.arena.alive == 0
            assert all(map(resizable, self.buffers))


def test_queues_are_their_models() -> None:
    """Any operations, in any order."""
    run_state_machine_as_test(BufferQueueMachine, settings=PROFILE)
