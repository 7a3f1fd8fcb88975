"""The sums of one object, wherever they are kept: in its label, or in its table.

Small objects have them in the label, which is read and replaced as a whole anyway.  An object with
more than ``sums_in_label`` blocks has a table from its first recorded block on.

Labels go in and come out: the caller reads the label, and writes it, under its lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache._cachefiles.sum_table import (
    SumTable,
    make_table,
    new_number,
    open_table,
    remove_table,
)
from netcache._core.checksums import (
    ABSENT,
    TableHead,
    block_sums,
    part,
    with_part,
)
from netcache._core.label import SUM_BYTES, Binding, Label, fits_with_sums

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netcache._cachefiles.binding import Bound

_FLUSH_BYTES = 64 * 1024
_NONE_OPENED = 0


def kept_in_label(label: Label, blocks_max: int) -> bool:
    """Whether the sums of an object are kept in its label."""
    blocks = -(-label.version.size // label.unit)
    return not label.table and blocks <= blocks_max and fits_with_sums(label, blocks * SUM_BYTES)


class ObjectSums:
    """The sums of one backing file.  The owner serialises the calls."""

    __slots__ = ("_bound", "_looked_for", "_table")

    def __init__(self, bound: Bound, table: SumTable | None = None) -> None:
        self._bound = bound
        self._table = table
        # The number of the table that was last opened, or looked for in vain.
        self._looked_for = table.number if table is not None else _NONE_OPENED

    def read(self, label: Label, first: int, last: int) -> bytes:
        """The sums of blocks ``first`` up to ``last``."""
        if not label.table:
            exact = not first and len(label.sums) == last * SUM_BYTES
            return label.sums if exact else part(label.sums, first, last)
        table = self.table(label)
        return table.read(first, last) if table is not None else ABSENT * (last - first)

    def record(self, label: Label, first: int, sums: bytes) -> Label:
        """Record the blocks from ``first`` on; returns the label that goes with it."""
        if kept_in_label(label, self._bound.sums_in_label):
            return label._replace(sums=with_part(label.sums, first, sums))
        table = self.table(label)
        if table is None:
            table = self._make(label)
            label = label._replace(table=table.number, sums=b"")
        table.write(first, sums)
        return label

    def forget(self, label: Label, first: int, last: int) -> Label:
        """Nothing is recorded of blocks ``first`` up to ``last`` any more."""
        if not label.table:
            cleared = with_part(label.sums, first, ABSENT * (last - first))
            return label._replace(sums=cleared)
        table = self.table(label)
        if table is not None:
            table.clear(first, last)
        return label

    def cut(self, label: Label, blocks: int) -> Label:
        """Nothing is recorded of the blocks from number ``blocks`` on any more."""
        if not label.table:
            return label._replace(sums=label.sums[: blocks * SUM_BYTES])
        table = self.table(label)
        if table is not None:
            table.cut(blocks)
        return label

    def sync(self, label: Label) -> None:
        """Make what is recorded outside the label durable."""
        if label.table and (table := self.table(label)) is not None:
            table.sync()

    def table(self, label: Label) -> SumTable | None:
        """The table that the label names, opened; None when there is none that fits."""
        if label.table != self._looked_for:
            self.close()
            self._looked_for = label.table
            if label.table:
                head = TableHead(label.table, label.binding, label.unit)
                self._table = open_table(self._bound.ops, self._bound.root, head)
        return self._table

    def _make(self, label: Label) -> SumTable:
        """A table for an object that has none, with what the label knew."""
        self.close()
        bound, head = self._bound, TableHead(new_number(), label.binding, label.unit)
        table = make_table(bound.ops, bound.root, head, sync=bound.sync_each)
        try:
            if label.sums:
                table.write(0, label.sums)
        except BaseException:
            table.close()
            raise
        self._table, self._looked_for = table, table.number
        return table

    def close(self) -> None:
        """Close the table; it is opened again when it is needed.  Idempotent."""
        table, self._table = self._table, None
        self._looked_for = _NONE_OPENED
        if table is not None:
            table.close()


class SumWriter:
    """The sums of a file that is written front to back, in memory of a fixed size."""

    def __init__(self, bound: Bound, binding: Binding) -> None:
        self._bound = bound
        self._binding = binding
        self._unit = bound.block_size
        self._tail = b""
        self._sums = bytearray()
        self._flushed = 0
        self._table: SumTable | None = None

    def add(self, data: Buffer) -> None:
        """The next bytes, of any length."""
        view = memoryview(data).cast("B")
        if self._tail:
            missing = self._unit - len(self._tail)
            self._tail += bytes(view[:missing])
            view = view[missing:]
            if len(self._tail) < self._unit:
                return
            self._sums += block_sums(self._tail, self._unit)
        whole = len(view) - len(view) % self._unit
        self._sums += block_sums(view[:whole], self._unit)
        self._tail = bytes(view[whole:])
        if len(self._sums) >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._table is None:
            head = TableHead(new_number(), self._binding, self._unit)
            ops, root = self._bound.ops, self._bound.root
            self._table = make_table(ops, root, head, sync=self._bound.sync_each)
        self._table.write(self._flushed, bytes(self._sums))
        self._flushed += len(self._sums) // SUM_BYTES
        self._sums.clear()

    def finish(self, label: Label) -> tuple[Label, ObjectSums]:
        """All was written: ``label`` with its sums, and these to go on with."""
        if self._tail:
            self._sums += block_sums(self._tail, self._unit)
            self._tail = b""
        table, self._table = self._table, None
        if table is not None:
            label = label._replace(table=table.number)
        sums = ObjectSums(self._bound, table)
        try:
            if self._sums:
                label = sums.record(label, self._flushed, bytes(self._sums))
            if self._bound.sync_each:
                sums.sync(label)
        except BaseException:
            sums.close()
            raise
        return label, sums

    def discard(self) -> None:
        """The file is thrown away.  Idempotent."""
        table, self._table = self._table, None
        if table is not None:
            table.close()
            remove_table(self._bound.ops, self._bound.root, self._binding.inode)
