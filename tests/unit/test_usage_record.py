"""The record of use, byte by byte, and as a hash table: what was put in is found, whatever else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netcache._core import usage_record as layout
from netcache._core.usage_index import TornError, UsageIndex, aged, bucket_of, split_of
from netcache._core.usage_record import Ghost, Head, Slot, State
from tests.support.culled_cache import MemoryCells

LONGEST = "I" + "v" * 254 + "/@ff/" + "n" * 255


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "add", "add", "remove", "look"]),
            st.integers(0, 40),
            st.sampled_from([1, 101, 102, 103, 253, 254, 255, 515]),
        ),
        max_size=150,
    )
)
def test_the_index_is_a_dictionary(steps: list[tuple[str, int, int]]) -> None:
    """Paths of all lengths, added and removed in any order; slots are used again."""
    index = UsageIndex(MemoryCells())
    known: dict[bytes, int] = {}
    most = 0
    for what, which, length in steps:
        place = (b"%d/" % which).ljust(length, b"x")
        if what == "add" and place not in known:
            known[place] = index.add(place)
        elif what == "remove" and place in known:
            index.remove(known.pop(place))
        assert index.find(place) == known.get(place, 0)
        most = max(most, sum(1 + -(-max(0, len(one) - 102) // 151) for one in known))
    for place, number in known.items():
        assert index.find(place) == number
        assert index.place(number) == place
    assert index.head.objects == len(known)
    assert index.head.slots == most, "a free slot is used before the file grows"


def test_finding_takes_a_few_slots_however_many_there_are() -> None:
    """Chains are split one at a time, with every slot that comes, and stay short."""
    cells = MemoryCells()
    index = UsageIndex(cells)
    for number in range(20_000):
        index.add(b"object %d" % number)
    cells.looked_at = 0
    for number in range(0, 20_000, 7):
        assert index.find(b"object %d" % number) == number + 1
    assert cells.looked_at < 6 * 20_000 / 7


def test_every_chain_is_split_in_its_turn() -> None:
    """The chain that a new one takes its share from is the one where its tags were."""
    for count in range(2, 300):
        for tag in range(count - 1, 5000, 97):
            now, before = bucket_of(tag, count), bucket_of(tag, count - 1)
            assert now in (before, count - 1)
            assert now == before or before == split_of(count)


def test_ghosts_remember_what_went_until_others_do() -> None:
    """How often it was used comes back once; a bucket has room for eight."""
    index = UsageIndex(MemoryCells())
    index.add(b"only")
    for tag in range(1, 10):
        index.remember(tag << 48, tag)
    assert index.recall(1 << 48) == 0, "the oldest of nine"
    assert index.recall(9 << 48) == 9
    assert index.recall(9 << 48) == 0, "it is back, and no ghost any more"
    index.head.age += 1
    assert index.recall(8 << 48) == 4, "uses age"
    assert [aged(7, ages) for ages in (0, 1, 2, 3, 200)] == [7, 3, 1, 1, 1]


@pytest.mark.parametrize(
    "state", [State.SMALL, State.MAIN, State.PINNED, State.LOOSE], ids=lambda state: state.name
)
def test_a_slot_comes_back_as_it_went(state: State) -> None:
    """All fields at their largest."""
    slot = Slot()
    slot.bucket = slot.chain = slot.before = slot.behind = slot.more = 0xFFFFFFFF
    slot.tag = slot.charge = slot.used_ms = slot.regions = (1 << 64) - 1
    slot.uses, slot.age = 255, 0xFFFF
    slot.length, slot.part = 515, LONGEST.encode()[:102]
    slot.state = state
    slot.ghosts = [Ghost(0xFFFF, 255, 255)] * 8
    raw = slot.pack()
    assert len(raw) == layout.SLOT_BYTES
    again = Slot.unpack(raw)
    assert all(getattr(again, name) == getattr(slot, name) for name in Slot.__slots__)


def test_the_rest_of_a_path_comes_back_as_it_went() -> None:
    """A slot that goes on with a path, and the bucket and ghosts that it has all the same."""
    slot = Slot()
    slot.state, slot.bucket, slot.more = State.MORE, 5, 6
    slot.part, slot.ghosts = b"p" * 151, [Ghost(1, 2, 3)]
    again = Slot.unpack(slot.pack())
    assert len(slot.pack()) == layout.SLOT_BYTES
    assert (again.state, again.bucket, again.more, again.part, again.ghosts) == (
        State.MORE, 5, 6, b"p" * 151, [Ghost(1, 2, 3)],
    )  # fmt: skip


def test_an_empty_file_is_full_of_free_slots() -> None:
    """Zeros are a slot that nothing is in."""
    slot = Slot.unpack(bytes(layout.SLOT_BYTES))
    assert (slot.state, slot.bucket, slot.ghosts) == (State.FREE, 0, [])
    assert slot.pack() == bytes(layout.SLOT_BYTES)


def test_the_head_comes_back_as_it_went() -> None:
    """Every field another value; anything else is no head of ours."""
    head = Head()
    fields = [name for name in Head.__slots__ if name not in ("boot", "cursor")]
    for value, name in enumerate(fields):
        setattr(head, name, value % 2 == 0 if isinstance(getattr(head, name), bool) else value)
    head.boot, head.cursor = b"b" * 16, b"c" * 700
    raw = head.pack()
    assert len(raw) == layout.HEAD_BYTES
    again = Head.unpack(raw)
    assert again is not None
    assert all(getattr(again, name) == getattr(head, name) for name in Head.__slots__)
    for other in (b"", raw[:-1], bytes(layout.HEAD_BYTES), b"X" + raw[1:]):
        assert Head.unpack(other) is None


def test_a_journal_is_all_or_nothing() -> None:
    """Any byte of its body that is not as it was makes it none."""
    patches = [(0, b"head"), (layout.slot_at(7), b"slot seven")]
    raw = layout.journal(9, patches)
    sequence, length, checksum = layout.journal_of(raw[: layout.JOURNAL_HEAD_BYTES])
    body = raw[layout.JOURNAL_HEAD_BYTES :]
    assert (sequence, length) == (9, len(body))
    assert layout.patches_of(body, checksum) == patches
    for at in range(len(body)):
        torn = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        assert layout.patches_of(torn, checksum) is None


@pytest.mark.parametrize(
    "tear",
    ["chain in a ring", "not in its chain", "freed twice", "free slot in use"],
)
def test_what_contradicts_itself_is_told(tear: str) -> None:
    """A record that is torn is found out, not followed for ever."""
    index = UsageIndex(MemoryCells())
    one = index.add(b"one")
    if tear == "chain in a ring":
        bucket = next(slot for number in (one,) if (slot := index.slot(number)).bucket == one)
        bucket.chain = one
        index.slot(one).tag ^= 1 << 60
        with pytest.raises(TornError):
            index.find(b"one")
    elif tear == "not in its chain":
        index.slot(1).bucket = 0
        with pytest.raises(TornError):
            index.remove(one)
    elif tear == "freed twice":
        index.slot(one).state = State.FREE
        with pytest.raises(TornError):
            index.remove(one)
    else:
        index.head.free = one
        with pytest.raises(TornError):
            index.add(b"two")
