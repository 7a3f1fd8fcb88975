"""The picture of the cached extents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache._client.admin import ExtentMap
from netcache._core.content import Content
from netcache._core.extent import Extent
from netcache_cli.extent_map import cell_fill, map_lines, picture

URL = "http://h/x"
KIB = 1024


def drawn(
    size: int, extents: list[tuple[int, int]], width: int = 80, encoding: str = "utf-8"
) -> list[str]:
    """The lines for a resource of `size` bytes with blocks of 4 KiB."""
    pieces = [Extent(start, end) for start, end in extents]
    held = sum(piece.length for piece in pieces)
    found = ExtentMap(URL, size, 4096, Content.BACKFS_MAP, held, pieces)
    return map_lines(found, picture(width, encoding))


def cells_of(lines: list[str], edge: str = "│") -> str:
    """The marks of the picture, without labels and edges."""
    return "".join(line.split(edge)[1] for line in lines if edge in line)


def test_blocks_are_drawn_where_they_are() -> None:
    """One mark a block while they fit; full, empty, and a last block that is short."""
    lines = drawn(5 * 4096 + 10, [(4096, 8192), (20480, 20490)])
    assert cells_of(lines) == "·█···█"
    assert lines[:3] == [
        URL,
        "20.0 KiB, 4.0 KiB cached (20.0%) in 2 extents",
        "content BACKFS_MAP, block size 4096",
    ]
    assert lines[-1].endswith("1 mark = 4.0 KiB")


def test_partial_cells_show_how_full_they_are() -> None:
    """When a mark stands for many blocks, its shade is the share that is cached."""
    size = 16 * 20 * 64 * KIB
    quarter = drawn(size, [(0, 4 * KIB), (64 * KIB, 96 * KIB), (128 * KIB, 188 * KIB)], width=31)
    assert quarter[-1].endswith("1 mark = 64.0 KiB") or "1 mark = 64.0 KiB" in quarter
    assert cells_of(quarter)[:4] == "░▒▓·"


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_the_picture_fits_the_terminal(width: int) -> None:
    """No line of picture or legend is wider than the terminal."""
    lines = drawn(1 << 30, [(0, 1 << 29)], width=width)
    assert all(len(line) <= width for line in lines[3:])


def test_an_encoding_without_blocks_gets_plain_characters() -> None:
    """ASCII only, with the same meaning."""
    lines = drawn(3 * 4096, [(0, 4096)], encoding="ascii")
    assert "\n".join(lines).isascii()
    assert cells_of(lines, "|") == "#.."


def test_an_empty_resource_has_no_picture() -> None:
    """Nothing to draw, and nothing is missing."""
    assert drawn(0, []) == [
        URL,
        "0 B, 0 B cached (100.0%) in 0 extents",
        "content BACKFS_MAP, block size 4096",
    ]


@pytest.mark.parametrize(
    ("held", "shown"), [(1, "under 0.1%"), ((1 << 30) - 1, "over 99.9%"), (1 << 29, "50.0%")]
)
def test_the_share_is_never_rounded_to_none_or_all(held: int, shown: str) -> None:
    """A little is not nothing, and almost all is not all."""
    assert f"({shown})" in drawn(1 << 30, [(0, held)])[1]


@given(
    st.integers(1, 200_000),
    st.lists(st.integers(0, 200_000), max_size=12, unique=True).map(sorted),
    st.sampled_from([512, 4096, 65536]),
)
def test_cells_add_up_to_the_extents(size: int, borders: list[int], cell: int) -> None:
    """Every cached byte is in exactly one cell, and no cell holds more than it stands for."""
    pairs = [pair for pair in zip(borders[::2], borders[1::2], strict=False) if pair[1] <= size]
    cells = cell_fill([Extent(*pair) for pair in pairs], size, cell)
    assert sum(cells) == sum(end - start for start, end in pairs)
    assert all(0 <= have <= min(cell, size - at * cell) for at, have in enumerate(cells))
