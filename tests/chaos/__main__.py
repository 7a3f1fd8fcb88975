"""``python -m tests.chaos``: long runs against the chaos origin, reproducible by seed."""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from tests.chaos.origin import LIES_TO_MANY, MISBEHAVIOURS, ChaosOrigin
from tests.chaos.reader import KINDS, ChaosReader

ROUND_READS = 10_000


def soak(
    folder: Path, reads: int, seed: int, threads: int, faulty: float, **options: float
) -> Counter[str]:
    """``reads`` reads by ``threads`` readers on one cache; raises what any of them raises.

    ``options`` are those of ``ChaosOrigin``.
    """
    without = LIES_TO_MANY if threads > 1 else frozenset()
    origin = ChaosOrigin(folder, seed, faulty=faulty, without=without, **options)
    failures: list[BaseException] = []
    counts: Counter[str] = Counter()
    with origin.server:
        readers = [
            ChaosReader(origin, folder / "cache", seed * 1000 + index, (seed + index) % len(KINDS))
            for index in range(threads)
        ]

        def work(reader: ChaosReader) -> None:
            try:
                reader.run(reads // threads, lambda: not failures)
            except BaseException as error:
                failures.append(error)

        workers = [threading.Thread(target=work, args=(reader,)) for reader in readers]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        for reader in readers:
            reader.close()
            counts += reader.counts
    if failures:
        raise failures[0]
    counts["requests"], counts["swaps"] = origin.requests, origin.swaps
    counts["misbehaviours"] = sum(origin.drawn.values())
    return counts


def main() -> None:
    """Run rounds with new seeds until ``--reads`` are done; exit 1 on a mixture.

    Every other round has one reader, and the same seed does the same there.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--reads", type=int, default=1_000_000, help="how many in all")
    parser.add_argument("--round", type=int, default=ROUND_READS, help="how many with one seed")
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--threads", type=int, default=4, help="of every other round")
    parser.add_argument("--faulty", type=float, default=0.15, help="how many answers suffer")
    options = parser.parse_args()
    total: Counter[str] = Counter()
    seed, began = options.seed, time.monotonic()
    while total["reads"] < options.reads:
        count = min(options.round, options.reads - total["reads"])
        with tempfile.TemporaryDirectory() as folder:
            try:
                threads = 1 if seed % 2 else options.threads
                counts = soak(Path(folder), count, seed, threads, options.faulty)
            except BaseException as error:
                sys.exit(f"seed {seed}: {type(error).__name__}: {error}")
        total += counts
        print(f"seed {seed}: {total['reads']} reads, {time.monotonic() - began:.0f} s", flush=True)
        seed += 1
    print(f"{len(MISBEHAVIOURS)} misbehaviours;", dict(total))


if __name__ == "__main__":
    main()
