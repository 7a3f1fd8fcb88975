"""The operations of the stress test on files and on the cache; ``edits`` has those that write."""

from __future__ import annotations

from collections.abc import Callable

import netcache
from netcache.sync import File
from tests.stress.checks import Watch
from tests.stress.edits import edit, outside, put, recover, stream
from tests.stress.final import real_problems
from tests.stress.worker import Worker


def etag_of(file: File) -> str:
    """The version that a file opened for reading shows."""
    return file.version.validator.value.strip('"')  # type: ignore[attr-defined, no-any-return]


def read_some(worker: Worker, watch: Watch, file: File) -> None:
    """Read at some places, one after the other; all of one version, or ``StaleError``."""
    chance = worker.chance
    for _ in range(chance.randrange(1, 6)):
        length = chance.choice([1, 100, 4096, 30_000, 1 << 20])
        start = chance.randrange(worker.plan.largest)
        found = file.pread(length, start)
        watch.shown(etag_of(file), start, found, length)


def read(worker: Worker) -> None:
    """Open, read here and there, close or keep."""
    watch = worker.watch(worker.name())
    file = worker.client.open(worker.url(watch.name))
    try:
        read_some(worker, watch, file)
        watch.fresh(etag_of(file))
    except netcache.StaleError:
        watch.changed_meanwhile()
    if worker.chance.random() < 0.3:
        worker.hold(watch.name, file)
    else:
        file.close()


def scan(worker: Worker) -> None:
    """Read all of a resource, piece by piece."""
    watch = worker.watch(worker.name())
    step = worker.chance.choice([4096, 10_000, 65_536])
    with worker.client.open(worker.url(watch.name)) as file:
        try:
            found = b"".join(iter(lambda: file.read(step), b""))
            watch.shown(etag_of(file), 0, found, 1 << 60)
            watch.fresh(etag_of(file))
        except netcache.StaleError:
            watch.changed_meanwhile()


def read_held(worker: Worker) -> None:
    """Read in a file that was opened long ago: its version, or ``StaleError``."""
    if not worker.held:
        return
    held = worker.chance.choice(worker.held)
    watch = worker.watch(held.name)
    try:
        read_some(worker, watch, held.file)
    except netcache.StaleError:
        worker.held.remove(held)
        held.file.close()


def view(worker: Worker) -> None:
    """Cut a view, and look at it again when its file is closed."""
    watch = worker.watch(worker.name())
    file = worker.client.open(worker.url(watch.name))
    held = worker.hold(watch.name, file)
    try:
        size = file.size
        start = worker.chance.randrange(size + 1)
        length = worker.chance.randrange(size - start + 1)
        cut = file.view(start, length)
        watch.shown(etag_of(file), start, cut, length)
        watch.fresh(etag_of(file))
        held.views.append((cut, bytes(cut)))
    except netcache.StaleError:
        watch.changed_meanwhile()


def let_go(worker: Worker) -> None:
    """Close all that is held, and compare the views once more."""
    worker.let_go()


def get(worker: Worker) -> None:
    """Copy a resource to a file."""
    watch = worker.watch(worker.name())
    with worker.local_file() as path:
        try:
            worker.client.get(worker.url(watch.name), path)
            watch.copied(path.read_bytes())
        except netcache.StaleError:
            watch.changed_meanwhile()


def warm(worker: Worker) -> None:
    """Bring a part of a resource into the cache, where there is room for it."""
    watch = worker.watch(worker.name())
    start = worker.chance.randrange(worker.plan.largest)
    try:
        worker.client.warm(worker.url(watch.name), start, worker.chance.choice([1, 60_000, None]))
    except netcache.StaleError:
        watch.changed_meanwhile()
    except netcache.CacheError as error:
        assert "full" in str(error)  # noqa: PT017 - any other is a fault


def stat(worker: Worker) -> None:
    """Ask what a resource is."""
    watch = worker.watch(worker.name())
    version = worker.client.stat(worker.url(watch.name)).version
    assert version is not None
    watch.fresh(version.validator.value.strip('"'))


def drop(worker: Worker) -> None:
    """Forget an object."""
    worker.client.cache.drop(worker.url(worker.name()))


def clear(worker: Worker) -> None:
    """Forget all objects."""
    worker.client.cache.clear()


def cull(worker: Worker) -> None:
    """Make room."""
    worker.client.cache.cull(worker.chance.choice([None, 0, 100_000, 1_000_000]))


def verify(worker: Worker) -> None:
    """Go over the cache while others work on it: nothing is wrong with it."""
    problems = real_problems(worker.client, repair=worker.chance.random() < 0.5)
    assert not problems, problems


def listings(worker: Worker) -> None:
    """Status, objects and map are there while others work."""
    worker.client.cache.status()
    for cached in worker.client.cache.objects():
        assert cached.cached_bytes <= cached.size or cached.size < 0, cached
    worker.client.cache.extents(worker.url(worker.name()))


def begin_anew(worker: Worker) -> None:
    """Close the client, and open another one."""
    worker.begin_anew()


_WEIGHTED: dict[Callable[[Worker], None], int] = {
    read: 30,
    scan: 12,
    read_held: 12,
    view: 6,
    let_go: 2,
    get: 6,
    warm: 4,
    stat: 2,
    edit: 14,
    put: 6,
    stream: 3,
    outside: 2,
    recover: 2,
    drop: 3,
    clear: 1,
    cull: 2,
    verify: 1,
    listings: 1,
    begin_anew: 2,
}
OPERATIONS = {function.__name__: function for function in _WEIGHTED}
WEIGHTS = list(_WEIGHTED.values())
