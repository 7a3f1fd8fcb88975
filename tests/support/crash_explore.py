"""Crashes a scenario at every one of its calls, in every way that it is told to try.

A run is recorded once; what a crash at any of its calls may leave is worked out from the log.
Each distinct outcome is opened, read, compared, worked on, and now and then crashed again.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from netcache._core.keys import ObjectKey
from tests.support.crash_disk import Disk, Rules
from tests.support.crash_fileops import CrashFileOps
from tests.support.crash_image import Image
from tests.support.crash_ops import Change, Entry, Inode, Note, Write
from tests.support.crash_recovery import check_all, go_over
from tests.support.crash_scenarios import SCENARIOS, go_on
from tests.support.crash_states import State, after_kill, after_power_cut, half_done
from tests.support.crash_world import Promised, Truth, World
from tests.support.labels import ATTRIBUTE
from tests.support.stores import Sync

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps

BLOCKS = (512, 1024, 4096)
SYNCS: tuple[Sync, ...] = ("lazy", "commit")
_AGAIN = 100
"""One outcome in so many is crashed again while it is being worked on."""


class Plan(NamedTuple):
    """One run to explore; all that is drawn comes from it.

    ``drawn`` states are drawn for each call and set of rules, besides the systematic ones; of all
    of them a ``share`` is tried.  ``nameless`` False: without O_TMPFILE.  ``tables`` True: sums of
    blocks are kept beside the objects, and not in their labels.
    """

    scenario: str
    seed: int
    sync: Sync
    block: int
    drawn: int = 4
    share: float = 1.0
    nameless: bool = True
    tables: bool = False
    verify: str = "none"

    @property
    def options(self) -> dict[str, Any]:
        """What the store is bound with."""
        more = {"sums_in_label": 0} if self.tables else {}
        return {"sync": self.sync, "block": self.block, "verify": self.verify, **more}


def plan_of(scenario: str, seed: int, sync: Sync, block: int, **more: Any) -> Plan:
    """A plan whose other options change with the seed."""
    verify = "open" if seed % 4 == 3 else "none"
    return Plan(
        scenario,
        seed,
        sync,
        block,
        nameless=seed % 3 != 2,
        tables=seed % 2 == 1,
        verify=verify,
        **more,
    )


class Fault(NamedTuple):
    """What went wrong, and where: the numbers of the calls before which it crashed."""

    plan: Plan
    path: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        return f"{self.plan} {' > '.join(self.path)}: {self.message}"


class Crashed(NamedTuple):
    """A system that has come back: what it shows, what is on its way, who it is."""

    live: Image
    disks: tuple[Disk, ...]
    promised: dict[ObjectKey, Promised]
    boot: int
    mount: int


class Explorer:
    """Counts and faults of all that was explored.

    It stops when it has found ``most_faults``, or one whose message has ``wanted`` in it.  ``wrap``
    is put between store and filesystem: a lie
    that the crashes must bring to light.
    """

    def __init__(
        self,
        *,
        most_faults: int = 20,
        wanted: str | None = None,
        wrap: Callable[[FileOps], FileOps] | None = None,
    ) -> None:
        self.wrap = wrap
        self.found = False
        self.boundaries = 0
        self.points: Counter[str] = Counter()
        self.again = 0
        self.faults: list[Fault] = []
        self._most_faults = most_faults
        self._wanted = wanted
        self._seen: set[int] = set()

    @property
    def done(self) -> bool:
        """Whether there are as many faults as were wanted, or the one that was."""
        return self.found or len(self.faults) >= self._most_faults

    @property
    def tried(self) -> int:
        """How many distinct outcomes of crashes were opened."""
        return sum(self.points.values())

    def explore(self, plan: Plan) -> None:
        """Run a scenario, and crash it everywhere."""
        if self.done:
            return
        self._seen.clear()
        truth, ops = Truth(), CrashFileOps(nameless=plan.nameless)
        world = World(ops, truth, wrap=self.wrap, **plan.options)
        scenario = {one.__name__: one for one in SCENARIOS}[plan.scenario]
        scenario(world, _chance(plan, "scenario"))
        world.close()
        empty = Image()
        start = Crashed(empty, tuple(Disk(empty, rules) for rules in Rules), {}, 1, 1)
        _Run(self, plan, truth, ops, start, ()).crash_everywhere()

    def seen(self, *what: object) -> bool:
        """Whether this outcome was tried before."""
        number = hash(what)
        known = number in self._seen
        self._seen.add(number)
        return known

    def failed(self, plan: Plan, path: tuple[str, ...], error: Exception) -> None:
        """Remember a fault."""
        fault = Fault(plan, path, f"{type(error).__name__}: {error}")
        self.faults.append(fault)
        self.found = self.found or (self._wanted is not None and self._wanted in fault.message)


class _Run:
    """A recorded run, from ``start`` on."""

    def __init__(
        self,
        explorer: Explorer,
        plan: Plan,
        truth: Truth,
        ops: CrashFileOps,
        start: Crashed,
        path: tuple[str, ...],
    ) -> None:
        self.explorer, self.plan, self.truth, self.path = explorer, plan, truth, path
        self.ops = ops
        self.start = start
        self.live = start.live.copy()
        self.disks = tuple(disk.copy() for disk in start.disks)
        self.promised = dict(start.promised)
        self.drawn = plan.drawn if not path else 1
        _know(self.live, ops.live.inodes)
        for disk in self.disks:
            _know(disk.durable, ops.live.inodes)

    def crash_everywhere(self) -> None:
        """Before each call that changes something, and after the last."""
        for index, entry in enumerate(self.ops.log):
            if isinstance(entry, Note):
                if isinstance(entry.what, Promised):
                    self.promised[entry.what.key] = entry.what
                continue
            self._crash(index, entry)
            for disk in self.disks:
                disk.feed(entry)
            if isinstance(entry, Change):
                self.live.apply(entry)
        self._crash(len(self.ops.log), None)

    def _crash(self, index: int, entry: Entry | None) -> None:
        self.explorer.boundaries += 1
        chance = _chance(self.plan, *self.path, str(index))
        kills: list[list[Change]] = [[]]
        if isinstance(entry, Write):
            kills.append(half_done(entry, chance))
        for half in kills:
            if chance.random() < self.plan.share:
                self._kill(index, half, chance)
        for disk in self.disks:
            for state in after_power_cut(disk, self.drawn, chance, self.plan.share):
                self._power_cut(index, state, chance)

    def _kill(self, index: int, half: list[Change], chance: random.Random) -> None:
        state = after_kill(self.live, half)
        disks = tuple(disk.copy() for disk in self.disks)
        for disk in disks:
            disk.pending += half
        crashed = Crashed(state.image, disks, self.promised, self.start.boot, self.start.mount)
        self._come_back(index, state, crashed, chance, killed=True)

    def _power_cut(self, index: int, state: State, chance: random.Random) -> None:
        disks = tuple(Disk(state.image, rules) for rules in Rules)
        # One time in four only the disk was away: the same boot, another mount.
        gone = chance.random() < 0.25
        boot, mount = self.start.boot + (not gone), self.start.mount + 1
        promised = {key: one._replace(after_kill=()) for key, one in self.promised.items()}
        crashed = Crashed(state.image, disks, promised, boot, mount)
        self._come_back(index, state, crashed, chance, killed=False)

    def _come_back(
        self, index: int, state: State, crashed: Crashed, chance: random.Random, *, killed: bool
    ) -> None:
        explorer, plan = self.explorer, self.plan
        if explorer.done:
            return
        if _off_the_grid(state.image, plan.block) or state.torn:
            crashed = crashed._replace(promised={})
        if explorer.seen(state.image.fingerprint(), killed, tuple(crashed.promised.items())):
            return
        kind = ("kill" if killed else "power") + (" again" if self.path else "")
        explorer.points[kind] += 1
        path = (*self.path, f"{index} {state.name}")
        truth = self.truth.copy()
        ops = CrashFileOps(
            state.image,
            boot=crashed.boot,
            mount=crashed.mount,
            nameless=plan.nameless,
            next_inode=self.ops.next_inode,
        )
        try:
            world = World(
                ops,
                truth,
                promised=crashed.promised,
                wrap=explorer.wrap,
                **plan.options,
            )
            check_all(world, killed=killed)
            go_on(world, chance)
            check_all(world, killed=True)
            go_over(world)
            world.close()
        except Exception as error:
            explorer.failed(plan, path, error)
            return
        if len(path) == 1 and chance.randrange(_AGAIN) == 0:
            explorer.again += 1
            _Run(explorer, plan, truth, ops, crashed, path).crash_everywhere()


def _off_the_grid(image: Image, block: int) -> bool:
    """Whether an object's file ends inside a block: it counts as damaged, and is fetched again.

    It can where the cache's blocks are larger than the filesystem's, or than a page.
    """
    return any(
        content.size % block and ATTRIBUTE in image.attributes[number]
        for number, content in image.files.items()
    )


def _know(image: Image, inodes: dict[int, Inode]) -> None:
    """Add inodes that were made later; without a name they are not there after a crash."""
    for number, inode in inodes.items():
        if number not in image.inodes:
            image.add(inode)


def _chance(plan: Plan, *place: str) -> random.Random:
    """The same numbers for the same place of the same run, on every machine."""
    return random.Random(zlib.crc32(repr((plan, place)).encode()))
