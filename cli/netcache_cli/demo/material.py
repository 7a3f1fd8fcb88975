"""What the demo serves: a large object of random bytes, and a few hundred real files."""

from __future__ import annotations

import hashlib
import os
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

_PIECE_BYTES = 4 << 20


def write_random(path: Path, size: int) -> bytes:
    """Write `size` random bytes, which nothing can compress or guess; returns their digest.

    The file appears under its name at once, as a careful publisher would do it.
    """
    digest = hashlib.sha256()
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        for start in range(0, size, _PIECE_BYTES):
            piece = os.urandom(min(_PIECE_BYTES, size - start))
            digest.update(piece)
            file.write(piece)
    new.replace(path)
    return digest.digest()


def digest_of(path: Path) -> bytes | None:
    """The digest of a file, None when there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except FileNotFoundError:
        return None


def copy_real_files(target: Path, count_max: int) -> tuple[int, int]:
    """Copy files of the running Python's standard library; returns how many, and their bytes."""
    source = Path(sysconfig.get_paths()["stdlib"])
    count = size = 0
    for path in _files_below(source):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        count += 1
        size += path.stat().st_size
        if count == count_max:
            break
    return count, size


def _files_below(top: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(set(folders) - {"__pycache__", "site-packages", "test", "tests"})
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path


def same_trees(one: Path, other: Path) -> bool:
    """Whether two trees have the same files with the same bytes."""
    return _contents(one) == _contents(other)


def _contents(top: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(top)): digest_of(path)
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }
