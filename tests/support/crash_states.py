"""What a crash may leave of a disk: the systematic cases first, then as many drawn ones as wanted.

A kill leaves all that was done, and the beginning of a write that was under way.  A power cut
leaves of the pending changes:

* none, all, all but the data, all but the attributes; each alone, each missing, each beginning;
* by the journal's rules: a beginning of the changes of names, attributes, sizes and holes, and any
  sectors of the data that do not rest on what is missing;
* by the loose rules: any of them.  A sector has any value that it had since the last sync, and so
  have a size and an attribute; a sector that was a hole may hold zeros or rubbish; a write is torn
  between its sectors, an attribute anywhere.

"Reordered" needs no case of its own: a later change that is there without an earlier one is what a
crash shows of it, and no filesystem swaps changes of the same sector, attribute or name.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.support.crash_content import SECTOR, Content, touched
from tests.support.crash_disk import Disk, Rules
from tests.support.crash_image import Image
from tests.support.crash_ops import Attribute, Change, Cut, Enter, Leave, Move, Punch, Write

_RUBBISH = bytes(range(1, 256)) + b"\x01" * (SECTOR - 255)
_SHARES = (0.1, 0.5, 0.9)


class State(NamedTuple):
    """A disk after a crash; ``torn`` says that an attribute is, which no journal allows."""

    name: str
    image: Image
    torn: bool = False


def half_done(write: Write, chance: random.Random) -> list[Change]:
    """The beginning of a write whose program was killed in the middle of it."""
    sectors = touched(write.start, write.start + len(write.data))
    end = chance.randrange(sectors.start, sectors.stop) * SECTOR
    data = write.data[: max(0, end - write.start)]
    return [write._replace(data=data)] if data else []


def after_kill(live: Image, half: list[Change]) -> State:
    """The system goes on with all that was done."""
    image = live.copy()
    for change in half:
        image.apply(change)
    image.forget_nameless()
    return State("killed in a write" if half else "killed", image)


def after_power_cut(disk: Disk, drawn: int, chance: random.Random, share: float) -> Iterator[State]:
    """States of the disk when it comes back; a ``share`` of them."""
    for name, kept in _systematic(disk):
        if chance.random() < share:
            yield State(f"{disk.rules.value}: {name}", _with(disk, kept))
    for number in range(drawn if disk.pending else 0):
        name = f"{disk.rules.value}: drawn {number}"
        if chance.random() >= share:
            continue
        if disk.rules is Rules.JOURNAL:
            yield State(name, _draw_in_order(disk, chance))
        else:
            yield State(name, *_draw_any(disk, chance))


def _systematic(disk: Disk) -> Iterator[tuple[str, list[Change]]]:
    pending = disk.pending
    yield "nothing", []
    if not pending:
        return
    yield "everything", pending
    if disk.rules is Rules.JOURNAL:
        ordered: list[Change] = [c for c in pending if not isinstance(c, Write)]
        for count in range(1, len(ordered) + 1):
            yield f"{count} without data", ordered[:count]
        return
    yield "no data", [change for change in pending if not isinstance(change, Write)]
    yield "no attributes", [change for change in pending if not isinstance(change, Attribute)]
    for index in range(len(pending)):
        yield f"only {index}", [pending[index]]
        yield f"all but {index}", pending[:index] + pending[index + 1 :]
        yield f"first {index}", pending[:index]


def _with(disk: Disk, kept: list[Change]) -> Image:
    image = disk.durable.copy()
    for change in kept:
        image.apply(change)
    image.forget_nameless()
    return image


# By the journal's rules.


def _draw_in_order(disk: Disk, chance: random.Random) -> Image:
    image = disk.durable.copy()
    ordered = sum(not isinstance(change, Write) for change in disk.pending)
    left = chance.randint(0, ordered)
    share = chance.choice(_SHARES)
    missing: list[Cut | Punch] = []
    for change in disk.pending:
        if isinstance(change, Write):
            for piece in _pieces(change):
                if chance.random() < share and not _rests_on(piece, missing):
                    image.apply(piece)
        elif left:
            left -= 1
            image.apply(change)
        elif isinstance(change, Cut | Punch):
            missing.append(change)
    image.forget_nameless()
    return image


def _pieces(write: Write) -> Iterator[Write]:
    """A write, sector by sector."""
    end = write.start + len(write.data)
    for number in touched(write.start, end):
        low, high = max(write.start, number * SECTOR), min(end, (number + 1) * SECTOR)
        yield Write(write.inode, low, write.data[low - write.start : high - write.start])


def _rests_on(piece: Write, missing: list[Cut | Punch]) -> bool:
    """Whether the sector was made anew after a hole or a cut that did not reach the disk."""
    end = piece.start + len(piece.data)
    return any(
        change.inode == piece.inode
        and (end > change.size if isinstance(change, Cut) else change.start < end)
        for change in missing
    )


# By the loose rules.


def _draw_any(disk: Disk, chance: random.Random) -> tuple[Image, bool]:
    image = disk.durable.copy()
    share = chance.choice(_SHARES)
    keep: Callable[[], bool] = lambda: chance.random() < share  # noqa: E731
    attributes: dict[tuple[int, str], list[bytes | None]] = {}
    files: dict[int, list[Write | Cut | Punch]] = {}
    for change in disk.pending:
        if isinstance(change, Enter | Leave | Move):
            if keep():
                image.apply(change)
        elif isinstance(change, Attribute):
            old = image.attributes[change.inode].get(change.name)
            versions = attributes.setdefault((change.inode, change.name), [old])
            versions.append(change.value)
        else:
            files.setdefault(change.inode, []).append(change)
    torn = False
    for (inode, name), values in attributes.items():
        value = _drawn_attribute(values, chance)
        torn |= value not in values
        image.apply(Attribute(inode, name, value))
    for inode, changes in files.items():
        image.files[inode] = _drawn_content(image.files[inode], changes, chance)
    image.forget_nameless()
    return image, torn


def _drawn_attribute(versions: list[bytes | None], chance: random.Random) -> bytes | None:
    drawn = chance.choice(versions)
    if drawn is not None and chance.random() < 0.05:
        other = chance.choice(versions) or b""
        middle = chance.randrange(len(drawn))
        return drawn[:middle] + other[middle:]
    return drawn


def _drawn_content(
    old: Content, changes: list[Write | Cut | Punch], chance: random.Random
) -> Content:
    """Any size that the file had, and for each sector any value that it had."""
    now, sizes = old.copy(), [old.size]
    values: dict[int, list[bytes | None]] = {}
    for change in changes:
        before, size = now.sectors.copy(), now.size
        _apply(now, change)
        for number in before.keys() | now.sectors.keys():
            value = now.sectors.get(number)
            if value is not before.get(number):
                values.setdefault(number, [before.get(number)]).append(value)
        if isinstance(change, Write) and now.size > size:
            inside = range(size - size % SECTOR + SECTOR, now.size, SECTOR)
            sizes += [chance.choice(inside)] if inside else []
        sizes.append(now.size)
    drawn = old.copy()
    newest, exposes = chance.choice(_SHARES), chance.random() < 0.2
    for number, versions in values.items():
        value = versions[-1] if chance.random() < newest else chance.choice(versions)
        if value is None and exposes and versions[0] is None:
            value = chance.choice([None, bytes(SECTOR), _RUBBISH])
        if value is None:
            drawn.sectors.pop(number, None)
        else:
            drawn.sectors[number] = value
    drawn.size = max(sizes)
    drawn.truncate(sizes[-1] if chance.random() < newest else chance.choice(sizes))
    return drawn


def _apply(content: Content, change: Write | Cut | Punch) -> None:
    if isinstance(change, Write):
        content.write(change.start, change.data)
    elif isinstance(change, Cut):
        content.truncate(change.size)
    else:
        content.punch(change.start, change.end)
