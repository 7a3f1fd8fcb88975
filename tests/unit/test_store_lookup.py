"""What a lookup believes: the order of validation, one reason at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from netcache._core.content import Content
from netcache._fscache.ports import CacheObject, CacheStore
from netcache.errors import CacheError
from tests.support.bytemodel import ByteModel, pattern
from tests.support.fixtures import Opener
from tests.support.labels import ATTRIBUTE, raw_label, read_label
from tests.support.stores import (
    KEY,
    OTHER_KEY,
    blocks,
    check,
    create,
    fill_blocks,
    found,
    object_file,
    object_files,
    put,
    text,
    version,
    write,
)


def relabelled(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Put a changed label on a file."""
    os.setxattr(path, ATTRIBUTE, change(raw_label(path)))


def patched(offset: int, value: int) -> Callable[[bytes], bytes]:
    """A change of one byte of a label."""
    return lambda raw: raw[:offset] + bytes([value]) + raw[offset + 1 :]


def stored(opener: Opener, directory: Path) -> Path:
    """The backing file of an object put by a store that is closed again."""
    store = opener()
    put(store, pattern(0, 3 * store.block_size)).close()
    store.close()
    return object_file(directory)


def missed_and_replaced(opener: Opener) -> None:
    """The object is a miss, and a new one takes its place and is found (T35)."""
    store = opener()
    assert store.lookup(KEY) is None
    model = text(2 * store.block_size, seed=4)
    cache_object = create(store, model.size, tag="new")
    fill_blocks(cache_object, model, 0, 2)
    cache_object.close()
    store.close()
    again = found(opener())
    assert again.version.same_as(version(model.size, "new"))
    check(again, model)


def test_a_key_that_was_never_stored_is_a_miss(store: CacheStore) -> None:
    """Nothing is made by looking."""
    assert store.lookup(KEY) is None
    put(store, b"x").close()
    assert store.lookup(OTHER_KEY) is None
    assert len(list(store.objects())) == 1


def test_a_stored_object_is_found_by_another_process(opener: Opener, tmp_path: Path) -> None:
    """Label and bytes are all that it takes."""
    path = stored(opener, tmp_path)
    store = opener()
    model = ByteModel(pattern(0, 3 * store.block_size))
    again = found(store)
    assert again.key == KEY
    assert again.version == version(model.size)
    assert read_label(path).content in (Content.ALL, Content.SINGLE)
    check(again, model)


@pytest.mark.parametrize("kind", ["folder", "full folder", "fifo", "link", "dangling link"])
def test_step_0_what_is_no_regular_file_is_buried(
    opener: Opener, tmp_path: Path, kind: str
) -> None:
    """A folder, pipe or link under an object's name is never opened, and is replaced."""
    path = stored(opener, tmp_path)
    copy = tmp_path / "elsewhere"
    shutil.move(path, copy)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(copy)
    elif kind == "dangling link":
        path.symlink_to("/nonexistent/target")
    else:
        path.mkdir()
        if kind == "full folder":
            (path / "inside").write_bytes(b"x")
    missed_and_replaced(opener)
    assert not Path("/nonexistent/target").exists()


@pytest.mark.parametrize("length", [None, 0, 1, 17, 18, 19, 25, -1])
def test_step_2_a_label_of_another_length_is_stale(
    opener: Opener, tmp_path: Path, length: int | None
) -> None:
    """Missing, short and cut labels are misses, and never an end to caching."""
    path = stored(opener, tmp_path)
    if length is None:
        os.removexattr(path, ATTRIBUTE)
    else:
        relabelled(path, lambda raw: raw[:length])
    missed_and_replaced(opener)


@pytest.mark.parametrize("extra", [1, 8, 255, 900])
def test_step_2_a_label_that_is_too_long_is_stale_or_right(
    opener: Opener, tmp_path: Path, extra: int
) -> None:
    """Bytes after the end of a label are a doubt."""
    path = stored(opener, tmp_path)
    relabelled(path, lambda raw: raw + b"\xa5" * extra)
    missed_and_replaced(opener)


@pytest.mark.parametrize("kind", [0, 2, 255])
def test_step_3_an_unknown_type_is_stale(opener: Opener, tmp_path: Path, kind: int) -> None:
    """The type is 1; anything else is not ours to read."""
    path = stored(opener, tmp_path)
    assert read_label(path).type == 1
    relabelled(path, patched(16, kind))
    missed_and_replaced(opener)


def test_step_4_damaged_coherency_data_is_never_believed(opener: Opener, tmp_path: Path) -> None:
    """Any changed byte of the coherency data is a miss, or changes nothing that is served."""
    path = stored(opener, tmp_path)
    raw = raw_label(path)
    model = ByteModel(pattern(0, 3 * opener().block_size))
    for offset in range(18, len(raw)):
        os.setxattr(path, ATTRIBUTE, patched(offset, raw[offset] ^ 0x41)(raw))
        again = lookup_or_refusal(opener())
        if again is not None:
            assert again.version == version(model.size), offset
            check(again, model)
        assert path.exists(), offset


def lookup_or_refusal(store: CacheStore) -> CacheObject | None:
    """A lookup that may also be refused."""
    try:
        return store.lookup(KEY)
    except CacheError:
        return None


@pytest.mark.parametrize("change", [1, -1, 1 << 40])
def test_step_5_another_object_size_is_never_believed(
    opener: Opener, tmp_path: Path, change: int
) -> None:
    """A size that the backing file or the rest of the label contradicts is a miss."""
    path = stored(opener, tmp_path)
    size = read_label(path).object_size
    relabelled(path, lambda raw: (size + change).to_bytes(8, "big") + raw[8:])
    missed_and_replaced(opener)


def test_step_6_a_dirty_label_is_a_miss(opener: Opener, tmp_path: Path) -> None:
    """An object that was being modified when its process went away is not believed."""
    path = stored(opener, tmp_path)
    store = opener()
    cache_object = found(store)
    cache_object.begin_modify()
    assert read_label(path).content == Content.DIRTY
    write(cache_object, ByteModel(pattern(0, 3 * store.block_size)), 5, b"half done")
    missed_and_replaced(opener)


@pytest.mark.parametrize("content", [4, 5, 77, 255])
def test_step_6_an_unknown_content_is_stale(opener: Opener, tmp_path: Path, content: int) -> None:
    """Content is 0 to 3; a value that we do not know is a doubt."""
    path = stored(opener, tmp_path)
    relabelled(path, patched(17, content))
    missed_and_replaced(opener)


def test_a_map_that_is_called_all_is_never_believed(opener: Opener, tmp_path: Path) -> None:
    """A changed content byte does not turn the holes of a map into zeros."""
    store = opener()
    model = text(6 * store.block_size)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 5, 6)
    store.close()
    relabelled(object_file(tmp_path), patched(17, Content.ALL))
    again = opener().lookup(KEY)
    assert again is None or 0 not in blocks(again)


@pytest.mark.parametrize("change", [-1, 1, 511])
def test_a_backing_file_off_the_block_grid_is_stale(
    opener: Opener, tmp_path: Path, change: int
) -> None:
    """I % B != 0: somebody else wrote to the file."""
    path = stored(opener, tmp_path)
    os.truncate(path, path.stat().st_size + change)
    missed_and_replaced(opener)


def test_a_backing_file_shorter_than_its_record_is_stale(opener: Opener, tmp_path: Path) -> None:
    """I below the recorded value: data is missing."""
    path = stored(opener, tmp_path)
    os.truncate(path, path.stat().st_size - opener().block_size)
    missed_and_replaced(opener)


def test_a_backing_file_longer_than_its_record_counts_up_to_the_record(
    opener: Opener, tmp_path: Path
) -> None:
    """What lies above the recorded end is not data."""
    store = opener()
    model = text(6 * store.block_size)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 2)
    store.close()
    with object_file(tmp_path).open("ab") as file:
        file.write(b"\xff" * 3 * store.block_size)
    again = opener().lookup(KEY)
    assert again is None or blocks(again) == [0, 1]


def test_a_copied_file_is_not_believed(opener: Opener, tmp_path: Path) -> None:
    """A label is bound to its file: a restored or copied one may have lost its holes."""
    path = stored(opener, tmp_path)
    label = raw_label(path)
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)
    os.setxattr(copy, ATTRIBUTE, label)
    path.rename(tmp_path / "aside")
    copy.rename(path)
    missed_and_replaced(opener)


def test_a_file_under_another_key_s_name_is_not_believed(opener: Opener, tmp_path: Path) -> None:
    """Two objects whose names were swapped do not serve each other's bytes."""
    store = opener()
    put(store, b"one", key=KEY).close()
    put(store, b"two", key=OTHER_KEY).close()
    store.close()
    one, two = object_files(tmp_path)
    one.rename(tmp_path / "aside")
    two.rename(one)
    (tmp_path / "aside").rename(two)
    for key, data in ((KEY, b"one"), (OTHER_KEY, b"two")):
        again = opener().lookup(key)
        if again is not None:
            check(again, ByteModel(data))


def test_a_stale_object_keeps_its_name_until_the_next_is_there(
    opener: Opener, tmp_path: Path
) -> None:
    """A miss removes nothing; the new object takes the name by rename."""
    path = stored(opener, tmp_path)
    inode = path.stat().st_ino
    relabelled(path, patched(16, 9))
    store = opener()
    assert store.lookup(KEY) is None
    assert path.stat().st_ino == inode
    put(store, b"new").close()
    assert path.stat().st_ino != inode


def test_replacing_an_object_leaves_its_readers_their_bytes(store: CacheStore) -> None:
    """An open object goes on showing its own version when another takes the name."""
    old, new = text(3 * store.block_size), text(2 * store.block_size, seed=6)
    reader = put(store, old.part(0, old.size))
    writer = put(store, new.part(0, new.size), tag="new")
    check(reader, old)
    check(writer, new)
    check(found(store), new)


def test_creating_the_same_version_again_opens_what_is_there(opener: Opener) -> None:
    """When another process has just made the object, its blocks are used, not fetched again."""
    one = opener()
    model = text(4 * one.block_size)
    first = create(one, model.size)
    fill_blocks(first, model, 0, 2)
    second = create(opener(), model.size)
    check(second, model)
    assert blocks(second) == [0, 1]
