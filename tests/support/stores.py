"""What tests of a cache store do again and again: open, fill, read everything back, look at disk.

Nothing here trusts the store: the backing file is found by walking the directory, its size comes
from ``fstat``, and what is served is read through the port and compared with the model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.content import Content, Occupancy, WriteKind
from netcache._core.extent import Extent, ExtentSet, round_up
from netcache._core.keys import ObjectKey
from netcache._fscache.ports import CacheObject, CacheStore
from tests.support.bytemodel import ByteModel, pattern

Sync = Literal["lazy", "commit"]

VOLUME = "netcache,http,example.org"
KEY = ObjectKey(VOLUME, b"folder/file")
OTHER_KEY = ObjectKey(VOLUME, b"folder/other")
CHECKED_S = 1_700_000_000.0


def version(size: int, tag: str = "a") -> Version:
    """A version with a strong ETag."""
    return Version(Validator(ValidatorKind.STRONG_ETAG, f'"{tag}"'), size, 1_600_000_000)


def create(store: CacheStore, size: int, *, key: ObjectKey = KEY, tag: str = "a") -> CacheObject:
    """A new empty object for a resource of ``size`` bytes."""
    return store.create(key, version(size, tag), checked_s=CHECKED_S)


def found(store: CacheStore, key: ObjectKey = KEY) -> CacheObject:
    """The object of ``key``, which must be there."""
    cache_object = store.lookup(key)
    assert cache_object is not None, f"{key} is not in the cache"
    return cache_object


def backing_size(cache_object: CacheObject) -> int:
    """``I``, from the file itself."""
    return os.fstat(cache_object.fileno()).st_size


def sizes(cache_object: CacheObject) -> tuple[int, int, Content]:
    """``(I, S, C)``, the state as the transition table writes it."""
    return backing_size(cache_object), cache_object.size, cache_object.content


def fill(cache_object: CacheObject, start: int, data: bytes) -> None:
    """Store downloaded bytes and record them."""
    cache_object.write_blocks(start, data)
    end = round_up(start + len(data), cache_object.block_size)
    cache_object.collect_write(WriteKind.DATA, start, end)


def fill_blocks(cache_object: CacheObject, model: ByteModel, first: int, last: int) -> None:
    """Fill blocks ``first`` up to (not with) ``last`` from the model, clipped to its size."""
    block = cache_object.block_size
    fill(cache_object, first * block, model.part(first * block, last * block))


def put(store: CacheStore, data: bytes, *, key: ObjectKey = KEY, tag: str = "a") -> CacheObject:
    """An object written front to back, complete, published."""
    new = store.begin(key)
    new.write(data)
    return new.publish(version(len(data), tag), checked_s=CHECKED_S)


def no_fill(extent: Extent) -> bytes:
    """A ``FillGap`` for writes that must not need one."""
    raise AssertionError(f"the real bytes of {extent} were asked for")


def fill_from(model: ByteModel) -> Callable[[Extent], bytes]:
    """A ``FillGap`` that gives the model's bytes, zeros past its end."""
    return lambda extent: model.padded(extent.start, extent.end)


def write(cache_object: CacheObject, model: ByteModel, start: int, data: bytes) -> None:
    """A local write, done to the object and to the model."""
    cache_object.write(start, data, fill_from(model))
    model.write(start, data)


def text(size: int, seed: int = 0) -> ByteModel:
    """A model with ``size`` bytes of text."""
    return ByteModel(pattern(0, size, seed))


def cached(cache_object: CacheObject) -> ExtentSet:
    """What occupancy calls cached, asked piece by piece from the start, clipped to ``S``."""
    known, position = ExtentSet(), 0
    while position < cache_object.size:
        answer = cache_object.query_occupancy(position, cache_object.size)
        assert len(answer) <= 2, answer
        reached = position
        for index, run in enumerate(answer):
            assert run.start < run.end, answer
            assert run.end > reached, (position, answer)
            assert index == 0 or run.start >= answer[index - 1].end, answer
            assert run.start % cache_object.block_size == 0, answer
            assert run.end % cache_object.block_size == 0 or run.end == cache_object.size, answer
            assert run.kind in (Occupancy.DATA, Occupancy.ZERO)
            reached = run.end
            known.add(run.start, min(run.end, cache_object.size))
        if not answer:
            break
        position = reached
    return known


def blocks(cache_object: CacheObject) -> list[int]:
    """The numbers of the blocks that are cached (the last may be cut by ``S``)."""
    block = cache_object.block_size
    return [
        number
        for run in cached(cache_object)
        for number in range(run.start // block, -(-run.end // block))
    ]


def served(cache_object: CacheObject) -> Iterator[tuple[int, bytes]]:
    """All the bytes that the object gives for what occupancy calls cached."""
    for run in cached(cache_object):
        buffer = bytearray(b"\xee" * (run.length + cache_object.block_size))
        count = cache_object.read_into(run.start, memoryview(buffer)[: run.length])
        assert count == run.length, f"{count} bytes of {run}"
        yield run.start, bytes(buffer[:count])


def check(cache_object: CacheObject, model: ByteModel) -> None:
    """Everything that must hold for an object at rest, given the true bytes."""
    known = cached(cache_object)  # first: it learns what other processes have recorded
    verify = getattr(cache_object, "check_invariants", None)
    if verify is not None:
        verify()
    backing, size, block = backing_size(cache_object), cache_object.size, cache_object.block_size
    stored_end, content = cache_object.stored_end, cache_object.content
    state = f"I={backing} S={size} L={stored_end} C={content.name} B={block}"
    assert backing % block == 0, f"INV-a: {state}"
    assert size > backing - block or size == backing == 0, f"INV-d: {state}"
    assert 0 <= stored_end <= backing, f"INV-i: {state}"
    assert content is not Content.DIRTY, state
    if content in (Content.ALL, Content.SINGLE):
        expected = ExtentSet([(0, min(stored_end, size))])
        assert known == expected, f"INV-e: {state} {known}"
    if content is Content.NO_DATA:
        assert not known, f"{state} {known}"
    assert ExtentSet(cache_object.extents()) == known, state
    assert cache_object.read_into(max(stored_end, size), bytearray(block)) == 0, state
    for run in list(known)[-1:]:
        count = cache_object.read_into(run.start, bytearray(run.length + 2 * block))
        assert count <= size - run.start, f"INV-f: {state}"
    wrong = model.wrong_parts(served(cache_object))
    assert not wrong, f"{state}: {wrong}"
    unsound = [run for run in known if not cache_object.is_sound(*run)]
    assert not unsound, f"sums do not fit right bytes: {state} {unsound}"


def object_files(directory: Path) -> list[Path]:
    """The backing files of all objects in a cache directory (``docs/on-disk-format.md``)."""
    return sorted(path for path in (directory / "cache").glob("I*/@??/*") if path.is_file())


def object_file(directory: Path) -> Path:
    """The backing file of the only object there is."""
    (path,) = object_files(directory)
    return path


def allocated(directory: Path) -> int:
    """Allocated bytes of all that lies under ``cache`` and ``graveyard``."""
    total = 0
    for part in ("cache", "graveyard"):
        for folder, _, files in os.walk(directory / part):
            total += sum(os.lstat(os.path.join(folder, name)).st_blocks * 512 for name in files)
    return total
