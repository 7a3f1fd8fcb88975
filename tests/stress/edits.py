"""The operations of the stress test that write: to the server, through the cache or past it."""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import netcache
from tests.stress.checks import EditWatch

if TYPE_CHECKING:
    from tests.stress.worker import Worker


def edit(worker: Worker) -> None:
    """Change a resource in places: acknowledged, given up, or in conflict with somebody."""
    watch = EditWatch(worker.book, worker.name(), worker.who)
    file: Any = worker.client.open(worker.url(watch.name), "r+b")
    base = file._handle.file.base.version
    over = False
    try:
        watch.made_from(base.validator.value.strip('"'))
        _change(worker, watch, file)
        if worker.chance.random() < 0.5:
            file.flush()
            if file._handle.file.entry is not None:
                _note_flushed(worker, watch)
        end = worker.chance.choice(["close", "close", "close", "fsync", "abort"])
        if end == "abort":
            worker.note(json.dumps({"ended": worker.op_id}))
            return
        if end == "fsync":
            file.fsync()
            watch.arrived()
        file.close()
        over = True
        watch.arrived()
    except (netcache.ConflictError, netcache.StaleError):
        # Stale: bytes around a change are needed, and the base is gone everywhere.
        watch.conflicted()
        if worker.chance.random() < 0.5:
            worker.note(json.dumps({"ended": worker.op_id}))
            return
        over = True
        with contextlib.suppress(netcache.ConflictError):
            file.close()
    finally:
        if not over:
            file.abort()


def _change(worker: Worker, watch: EditWatch, file: Any) -> None:
    chance = worker.chance
    for number in range(chance.randrange(1, 5)):
        size = watch.model.size
        if chance.random() < 0.15:
            new = chance.randrange(min(size * 2, worker.plan.largest) + 1)
            file.truncate(new)
            watch.truncate(new)
            continue
        start = chance.randrange(size + chance.choice([1, 5000]))
        data = worker.data(chance.choice([16, 1000, 4096, 20_000]) + number)
        file.pwrite(data, start)
        watch.write(start, data)
        if chance.random() < 0.3:
            start = chance.randrange(watch.model.size)
            found = file.pread(10_000, start)
            assert found == watch.model.part(start, start + 10_000), "not what was written"


def _note_flushed(worker: Worker, watch: EditWatch) -> None:
    """From now on the edit reaches the server, or is kept as a conflict."""
    line = {
        "flushed": worker.op_id,
        "name": watch.name,
        "base": watch.base,
        "runs": [(start, watch.model.part(start, end).hex()) for start, end in watch.lasting()],
    }
    worker.note(json.dumps(line))


def put(worker: Worker) -> None:
    """Replace a resource, unconditionally, conditionally, or only if it is not there."""
    watch = worker.watch(worker.name())
    url, data = worker.url(watch.name), worker.data(worker.size())
    kind = worker.chance.choice(["plain", "plain", "if_match", "no_clobber"])
    options: dict[str, Any] = {}
    known = None
    if kind == "if_match":
        version = worker.client.stat(url).version
        assert version is not None
        options["if_match"] = version.validator.value
        known = version.validator.value.strip('"')
    elif kind == "no_clobber":
        options["no_clobber"] = True
    with worker.local_file(data) as path:
        try:
            worker.client.put(path, url, **options)
        except netcache.ConflictError:
            if kind != "no_clobber":
                watch.changed_meanwhile(known, data)
            watch.not_stored(data)
            return
    assert kind != "no_clobber"
    watch.stored(data, known)


def stream(worker: Worker) -> None:
    """Write a resource front to back, or give that up in the middle."""
    watch = worker.watch(worker.name())
    data = worker.data(worker.size())
    file = worker.client.open(worker.url(watch.name), "wb")
    try:
        for start in range(0, len(data), 50_000):
            file.write(data[start : start + 50_000])
        if worker.chance.random() < 0.2:
            file.abort()
            watch.not_stored(data)
            return
        file.close()
        watch.stored(data)
    except netcache.ConflictError:
        watch.changed_meanwhile(None, data)
    finally:
        file.abort()


def outside(worker: Worker) -> None:
    """Replace a resource behind the back of all caches."""
    watch = worker.watch(worker.name())
    data = worker.data(worker.size())
    connection = http.client.HTTPConnection(urlsplit(worker.place.url).netloc, timeout=30)
    try:
        connection.request("PUT", "/" + watch.name, data)
        reply = connection.getresponse()
        reply.read()
        assert reply.status == 204, reply.status
    finally:
        connection.close()
    watch.stored(data)


def recover(worker: Worker) -> None:
    """Upload what killed processes left; nothing but a conflict may stop that."""
    for done in worker.client.edits.recover():
        assert done.error is None or isinstance(done.error, netcache.ConflictError), done.error
