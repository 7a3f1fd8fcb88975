"""Damage to a cache at rest: bits that flip, holes, cuts, swapped files.

All of it is done to the files, past the store.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from netcache._core.extent import ExtentSet
from netcache._fscache.ports import CacheObject
from tests.support.bytemodel import ByteModel
from tests.support.stores import cached


def flip(path: Path, bit: int) -> None:
    """Flip one bit of a file."""
    with path.open("r+b", buffering=0) as file:
        byte = os.pread(file.fileno(), 1, bit // 8)[0]
        os.pwrite(file.fileno(), bytes([byte ^ 1 << bit % 8]), bit // 8)


def flip_attribute(path: Path, name: str, bit: int) -> None:
    """Flip one bit of an extended attribute."""
    value = bytearray(os.getxattr(path, name))
    value[bit // 8] ^= 1 << bit % 8
    os.setxattr(path, name, bytes(value))


def fallocate(path: Path, *arguments: str) -> None:
    """The tool of util-linux; skips by name where there is none, or the filesystem cannot."""
    if shutil.which("fallocate") is None:
        pytest.skip("no fallocate command")
    done = subprocess.run(["fallocate", *arguments, path], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"fallocate {arguments[0]}: {done.stderr.strip()}")


def swap(one: Path, other: Path) -> None:
    """Let two files change their names."""
    between = one.with_name(one.name + ".between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def tables(directory: Path) -> list[Path]:
    """The tables of sums in a cache directory, by the layout in the docs."""
    return sorted(path for path in (directory / "cache" / "+sums").glob("@??/*"))


def stray_tables(directory: Path) -> list[Path]:
    """The tables of sums whose objects are gone: only processes that were killed leave any."""
    files = [*(directory / "cache").glob("I*/@??/*"), *(directory / "graveyard").rglob("*")]
    owners = {f"{path.stat().st_ino:x}" for path in files if path.is_file()}
    return [table for table in tables(directory) if table.name not in owners]


def proven(cache_object: CacheObject) -> ExtentSet:
    """What an object gives to a reader who has it proven, as every reader has."""
    sound = ExtentSet()
    for run in cached(cache_object):
        position = run.start
        while position < run.end:
            end = min(cache_object.prove(position, run.end).end, run.end)
            sound.add(position, end)
            position = max(end, (position // cache_object.block_size + 1) * cache_object.block_size)
    return sound


def expect_only_sound(cache_object: CacheObject, model: ByteModel) -> ExtentSet:
    """Nothing wrong is given; returns what is given."""
    sound = proven(cache_object)
    pieces = []
    for run in sound:
        buffer = bytearray(run.length)
        assert cache_object.read_into(run.start, buffer) == run.length, run
        pieces.append((run.start, bytes(buffer)))
    assert not model.wrong_parts(iter(pieces))
    return sound


def lost_blocks(cache_object: CacheObject, model: ByteModel) -> list[int]:
    """The numbers of the blocks of a resource that are not given, or not any more."""
    block = cache_object.block_size
    sound = expect_only_sound(cache_object, model)
    return [
        start // block
        for start in range(0, model.size, block)
        if not sound.covers(start, min(start + block, model.size))
    ]
