"""What must hold when all processes have ended, by the book and by what they had been told."""

from __future__ import annotations

import json
from typing import Any

import netcache
from netcache._core.label import Why
from netcache._fscache.overview import Problem
from tests.stress.book import Book
from tests.stress.checks import Run, Watch
from tests.stress.plan import Outcome, Place, Plan

Flushed = dict[str, Any]


def check_end(plan: Plan, place: Place, outcome: Outcome) -> None:
    """Recover, and look at everything; what is wrong is added to the outcome's faults."""
    book = Book(place.book)
    with netcache.Client(cache_dir=place.cache, cache_size=plan.cache_bytes) as client:
        faults = [
            f"recovery of {done.url}: {done.error}"
            for done in client.edits.recover()
            if done.error is not None and not isinstance(done.error, netcache.ConflictError)
        ]
        faults += [f"verify: {problem}" for problem in real_problems(client)]
        for number in range(plan.names):
            watch = Watch(book, f"r{number}")
            with client.open(place.url + watch.name) as file:
                try:
                    watch.copied(file.read())
                except AssertionError as error:
                    faults.append(str(error))
        kept = _kept(client, place)
        for flushed in _unfinished(place):
            lost = _lost(flushed, book, kept)
            faults += [f"lost: {lost} of {flushed['flushed']}, {flushed['name']}"] if lost else []
            outcome.done["flushed and killed"] += 1
        faults += [
            f"an edit is neither uploaded nor in conflict: {edit}"
            for edit in client.edits.unsent()
            if not edit.conflict
        ]
    outcome.faults += faults


def real_problems(client: netcache.Client, *, repair: bool = False) -> list[Problem]:
    """What is wrong with the cache, but for objects whose modification a kill cut short."""
    return [one for one in client.cache.verify(repair=repair) if Why.DIRTY.value not in one.why]


def _unfinished(place: Place) -> list[Flushed]:
    """The edits that were flushed and not given up afterwards."""
    flushed: dict[str, Flushed] = {}
    for line in place.flushed.read_text().splitlines():
        noted = json.loads(line)
        if "flushed" in noted:
            flushed[noted["flushed"]] = noted
        else:
            flushed.pop(noted["ended"], None)
    return list(flushed.values())


def _lost(flushed: Flushed, book: Book, kept: list[tuple[str, bytes]]) -> list[Run]:
    """What of an edit is neither at the server (parts may have come there) nor kept."""
    name = flushed["name"]
    versions = book.versions(name)[book.index_of(name, flushed["base"]) :]
    found = [book.bytes_of(name, noted.etag) for noted in versions]
    found += [data for kept_name, data in kept if kept_name == name]
    lost = []
    for start, text in flushed["runs"]:
        piece = bytes.fromhex(text)
        end = start + len(piece)
        if not any(data[start:end] == piece for data in found):
            lost.append((start, end))
    return lost


def _kept(client: netcache.Client, place: Place) -> list[tuple[str, bytes]]:
    """The changes of the edits that are kept as conflicts."""
    kept = []
    for edit in client.edits.unsent():
        path = place.root / "tmp" / "kept"
        client.edits.save(edit.name, path, changes_only=True)
        kept.append((edit.url.rpartition("/")[2], path.read_bytes()))
        path.unlink()
    return kept
