"""The decision table of ``collect_write``, row by row and against a block model.

``old`` is the stored end before the run, ``S`` the size of the resource as far as data reaches,
``[s, e)`` the run.  Rows x, 0 and 0' are not decided here: the store refuses what is off the grid,
and what is written front to back never comes this way.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netcache._core.collect import Collected, collect_write
from netcache._core.content import Content, WriteKind
from netcache._core.extent import Extent

B = 4096
ALL, MAP, NONE, SINGLE = Content.ALL, Content.BACKFS_MAP, Content.NO_DATA, Content.SINGLE
DATA = WriteKind.DATA
STATES = pytest.mark.parametrize("content", [ALL, MAP, SINGLE])


def collected(
    start: int, end: int, *, old: int, size: int, content: Content, kind: WriteKind = DATA
) -> Collected:
    """The decision for a run of blocks; ``old`` is in blocks as well, ``size`` is in bytes."""
    return collect_write(kind, start * B, end * B, old=old * B, size=size, content=content)


class TestRows:
    """Each row, at the ends of its condition."""

    @pytest.mark.parametrize("end", [1, 2, 100])
    @pytest.mark.parametrize("size", [0, 1, B, 50 * B])
    @pytest.mark.parametrize("content", [NONE, ALL, MAP])
    def test_1_first_data_at_0(self, end: int, size: int, content: Content) -> None:
        """old = 0, s = 0: ALL, whatever it was before: empty is empty."""
        done = collected(0, end, old=0, size=size, content=content)
        assert done == Collected("1", ALL, end * B)

    @pytest.mark.parametrize(("start", "end"), [(1, 2), (1, 9), (7, 8)])
    @pytest.mark.parametrize("size", [0, 1, 50 * B])
    @pytest.mark.parametrize("content", [NONE, ALL, MAP])
    def test_1_prime_first_data_above_0(
        self, start: int, end: int, size: int, content: Content
    ) -> None:
        """old = 0, s > 0: a map."""
        done = collected(start, end, old=0, size=size, content=content)
        assert done == Collected("1'", MAP, end * B)

    @STATES
    @pytest.mark.parametrize("size", [3 * B, 3 * B + 1, 50 * B])
    @pytest.mark.parametrize(
        ("start", "end"), [(3, 4), (3, 9), (2, 4), (0, 4), (0, 1), (0, 3), (2, 3)]
    )
    def test_2_contiguous(self, content: Content, size: int, start: int, end: int) -> None:
        """old <= S, s <= old: content is kept, the end only grows."""
        done = collected(start, end, old=3, size=size, content=content)
        assert done == Collected("2", content, max(3, end) * B)

    @STATES
    @pytest.mark.parametrize("size", [3 * B, 3 * B + 1, 50 * B])
    @pytest.mark.parametrize(("start", "end"), [(4, 5), (9, 20)])
    def test_2_prime_past_a_hole(self, content: Content, size: int, start: int, end: int) -> None:
        """old <= S, s > old: a map."""
        done = collected(start, end, old=3, size=size, content=content)
        assert done == Collected("2'", MAP, end * B)

    @STATES
    @pytest.mark.parametrize("size", [2 * B + 1, 3 * B - 1])
    @pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 3), (2, 3), (1, 2)])
    def test_3_inside(self, content: Content, size: int, start: int, end: int) -> None:
        """S < old, e <= old: nothing changes."""
        done = collected(start, end, old=3, size=size, content=content)
        assert done == Collected("3", content, 3 * B)

    @STATES
    @pytest.mark.parametrize("size", [2 * B + 1, 3 * B - 1])
    @pytest.mark.parametrize(("start", "end"), [(2, 4), (0, 4), (1, 50)])
    def test_4_over_the_tail_block(self, content: Content, size: int, start: int, end: int) -> None:
        """S < old, s < old < e: the writer rewrote the tail block, its padding included."""
        done = collected(start, end, old=3, size=size, content=content)
        assert done == Collected("4", content, end * B)

    @STATES
    @pytest.mark.parametrize("size", [2 * B + 1, 3 * B - 1])
    @pytest.mark.parametrize("end", [4, 50])
    def test_6_over_the_padding(self, content: Content, size: int, end: int) -> None:
        """S < old, s = old: the padding becomes bytes of the resource, so it is made zero."""
        done = collected(3, end, old=3, size=size, content=content)
        assert done == Collected("6", content, end * B, Extent(size, 3 * B))

    @STATES
    @pytest.mark.parametrize("size", [2 * B + 1, 3 * B - 1])
    @pytest.mark.parametrize(("start", "end"), [(4, 5), (9, 20)])
    def test_7_hole_and_padding(self, content: Content, size: int, start: int, end: int) -> None:
        """S < old, s > old: a map, and the padding made zero."""
        done = collected(start, end, old=3, size=size, content=content)
        assert done == Collected("7", MAP, end * B, Extent(size, 3 * B))

    @STATES
    @pytest.mark.parametrize("kind", [WriteKind.GAP, WriteKind.CANCEL])
    @pytest.mark.parametrize("old", [0, 3])
    @pytest.mark.parametrize("size", [B, 2 * B + 1, 3 * B, 9 * B])
    @pytest.mark.parametrize(("start", "end"), [(0, 3), (3, 4), (0, 0), (8, 9)])
    def test_what_stores_nothing_records_nothing(
        self, content: Content, kind: WriteKind, old: int, size: int, start: int, end: int
    ) -> None:
        """Gaps and cancelled runs: the data above them will make a hole of them."""
        done = collected(start, end, old=old, size=size, content=content, kind=kind)
        assert done == Collected("-", content, old * B)

    @STATES
    @pytest.mark.parametrize("place", [0, 2, 3, 9])
    @pytest.mark.parametrize("old", [0, 3])
    def test_nothing_written_records_nothing(self, content: Content, place: int, old: int) -> None:
        """An empty run is no data, wherever it is."""
        done = collected(place, place, old=old, size=3 * B, content=content)
        assert done == Collected("-", content, old * B)


class Row(NamedTuple):
    """A row of the table, as it is printed."""

    name: str
    old_is_0: bool | None
    old_within_size: bool | None
    start: str
    end_within_old: bool | None
    becomes: Content | None
    pads: bool


# None: the row does not ask; for ``becomes``: kept.
TABLE = [
    Row("1", True, None, "= 0", None, ALL, False),
    Row("1'", True, None, "> 0", None, MAP, False),
    Row("2", False, True, "<= old", None, None, False),
    Row("2'", False, True, "> old", None, MAP, False),
    Row("3", False, False, "any", True, None, False),
    Row("4", False, False, "< old", False, None, False),
    Row("6", False, False, "= old", False, None, True),
    Row("7", False, False, "> old", False, MAP, True),
]


def fits(row: Row, start: int, end: int, old: int, size: int) -> bool:
    """Whether a row's whole condition holds, without regard to the rows above it."""
    places = {
        "= 0": start == 0,
        "> 0": start > 0,
        "<= old": start <= old,
        "< old": start < old,
        "= old": start == old,
        "> old": start > old,
        "any": True,
    }
    asked = [(row.old_is_0, old == 0), (row.old_within_size, old <= size)]
    asked.append((row.end_within_old, end <= old))
    return places[row.start] and all(wanted in (None, is_so) for wanted, is_so in asked)


def test_the_rows_leave_no_case_and_no_doubt() -> None:
    """Every case of a small world has one row, and it is the one that decides."""
    seen = set()
    for old in range(5):
        for size in range(0, 6 * B, B // 2):
            for start in range(6):
                for end in range(start + 1, 7):
                    place = (start * B, end * B, old * B, size)
                    (row,) = [row for row in TABLE if fits(row, *place)]
                    done = collected(start, end, old=old, size=size, content=SINGLE)
                    seen.add(row.name)
                    assert done == Collected(
                        row.name,
                        SINGLE if row.becomes is None else row.becomes,
                        max(old, end) * B,
                        Extent(size, old * B) if row.pads else None,
                    ), place
    assert seen == {row.name for row in TABLE}


SMALL = 4
"""A block of so few bytes that the model can look at each of them."""


class Bytes:
    """An object as a row of bytes, each a hole, written, zero, or rubbish that nobody wrote."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.text = ""

    def write(self, start: int, end: int, size: int) -> None:
        """Whole blocks are written; what is past the resource's end, ``size``, is rubbish."""
        text = self.text.ljust(end, "-")
        run = "".join("#" if place < size else "?" for place in range(start, end))
        self.text = text[:start] + run + text[end:]
        self.size = size

    def zero(self, padding: Extent) -> None:
        """Make padding zero: only rubbish, and only what is not the resource yet."""
        start, end = padding
        assert self.size <= start < end <= len(self.text)
        assert set(self.text[start:end]) == {"?"}
        self.text = self.text[:start] + "0" * (end - start) + self.text[end:]

    def check(self, done: Collected, *, mapped: bool) -> None:
        """What the label says is so."""
        assert done.stored_end == len(self.text)
        assert "?" not in self.text[: self.size], "nobody wrote this"
        if not self.text:
            assert done.content is NONE
        elif mapped:
            assert done.content is MAP, "a map stays one, also when its holes have been filled"
        else:
            assert done.content is ALL
            assert "-" not in self.text


Run = tuple[WriteKind, int, int, int]
"""A kind, the first block as seen from the stored end, how many, bytes past the resource."""


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[Run]]:
    """A size to begin with, and runs."""
    kinds = st.sampled_from([DATA, DATA, DATA, WriteKind.GAP, WriteKind.CANCEL])
    steps, counts = st.sampled_from([0, 0, -1, -2, -20, 1, 2]), st.integers(0, 4)
    run = st.tuples(kinds, steps, counts, st.integers(0, SMALL - 1))
    size = draw(st.sampled_from([0, 1, 7, 8, 50]))
    return size, draw(st.lists(run, min_size=1, max_size=8))


@given(history=histories())
@example(history=(0, [(DATA, 0, 2, 1), (DATA, 0, 1, 0)]))
@example(history=(0, [(DATA, 0, 2, 1), (DATA, 2, 1, 0)]))
@example(history=(0, [(DATA, 0, 2, 3), (DATA, -1, 1, 1), (DATA, -2, 3, 2)]))
@example(history=(9, [(DATA, 1, 1, 0), (DATA, -2, 1, 0), (DATA, 0, 1, 0)]))
@example(history=(50, [(DATA, 0, 1, 0), (WriteKind.CANCEL, 0, 1, 0), (DATA, 1, 1, 0)]))
def test_histories(history: tuple[int, list[Run]]) -> None:
    """ALL never hides a hole, the end is that of the data, rubbish never becomes bytes.

    A run that goes past the resource's end makes it longer, as local writes do; one that does not
    is a download.
    """
    size, runs = history
    model = Bytes(size)
    content, old, mapped = NONE, 0, False
    for kind, step, count, short in runs:
        start = max(0, old + step * SMALL)
        end = start + count * SMALL
        done = collect_write(kind, start, end, old=old, size=model.size, content=content)
        if done.padding is not None:
            model.zero(done.padding)
        if kind is DATA and start < end:
            model.write(start, end, max(model.size, end - short))
        mapped = mapped or "-" in model.text
        model.check(done, mapped=mapped)
        content, old = done.content, done.stored_end
