"""The rig of write and check: the bundled server, which compares each digest, and the processes."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import netcache
from tests.support.served import Served, serve
from tests.wac.pages import PAGE, first_pages, torn_pages
from tests.wac.writers import PAGES, Outcome, Task, work


def run(
    folder: Path,
    profile: str,
    *,
    processes: int = 0,
    writers: int = 8,
    turns: int = 1 << 62,
    seconds: float = float("inf"),
    seed: int = 1,
) -> Outcome:
    """One run of a profile; without ``processes`` in this one.

    Each process writes a resource of its own, all share one cache.  Afterwards server and cache
    have the same bytes, and every upload was compared with a digest.
    """
    cache = folder / "cache"
    with serve(folder / "www") as served:
        tasks = [
            Task(
                served.put(f"file-{number}", first_pages(PAGES)),
                str(cache),
                profile,
                writers,
                seed + number,
                turns,
                seconds,
            )
            for number in range(max(1, processes))
        ]
        if processes:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(processes, mp_context=context) as pool:
                outcomes = list(pool.map(work, tasks))
        else:
            outcomes = [work(tasks[0])]
        counts: Counter[str] = sum((one.counts for one in outcomes), Counter())
        wrong = [line for one in outcomes for line in one.wrong]
        _compare(served, cache, tasks, counts, wrong)
        return Outcome(counts, wrong)


def _compare(
    served: Served, cache: Path, tasks: list[Task], counts: Counter[str], wrong: list[str]
) -> None:
    uploads = [one for one in served.requests() if one["method"] in ("PUT", "PATCH")]
    counts["uploads"] = len(uploads)
    for one in uploads:
        if not (one["content_digest"] or one["want_repr_digest"]):
            wrong.append(f"{one['method']} {one['path']} was compared with no digest")
        if one["status"] >= 400:
            wrong.append(f"{one['method']} {one['path']} was answered with {one['status']}")
    with netcache.Client(cache_dir=cache, offline=True) as client:
        for task in tasks:
            name = task.url.rpartition("/")[2]
            there = (served.root / name).read_bytes()
            if torn := torn_pages(there[: task.plain_pages * PAGE], 0):
                wrong.append(f"the server: torn pages {torn} of {name}")
            with client.open(task.url) as file:
                counts["compared"] += len(there)
                if file.read() != there:
                    wrong.append(f"server and cache differ in {name}")
