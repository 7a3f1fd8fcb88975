"""All rows, by the names that the command takes."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.bounds import memory, scattered
from benchmarks.contest import Score
from benchmarks.edits import edit, random_writes, sequential_writes
from benchmarks.latency import cold_scan, far_reads
from benchmarks.opens import opens
from benchmarks.reads import warm_large, warm_small
from benchmarks.rig import Rig
from benchmarks.stable import rewrites
from benchmarks.starts import start
from benchmarks.together import together
from benchmarks.transfers import cold_get, cold_warm, put, warm_get
from benchmarks.trees import far_tree, tree
from benchmarks.verifying import verifying
from benchmarks.views import warm_view

ROWS: dict[str, Callable[[Rig, int], list[Score]]] = {
    "warm-large": warm_large,
    "warm-small": warm_small,
    "view": warm_view,
    "opens": opens,
    "warm": cold_warm,
    "get": cold_get,
    "warm-get": warm_get,
    "put": put,
    "tree": tree,
    "far-tree": far_tree,
    "scattered": scattered,
    "cold-scan": cold_scan,
    "far-reads": far_reads,
    "together": together,
    "edit": edit,
    "random-writes": random_writes,
    "sequential-writes": sequential_writes,
    "rewrites": rewrites,
    "start": start,
    "memory": memory,
    "verify": verifying,
}
