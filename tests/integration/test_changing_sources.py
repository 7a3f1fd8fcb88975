"""Local files that change while they are put: an error that names both ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import netcache
from netcache._core.progress import ProgressEvent, ProgressSink
from netcache.errors import NetCacheError
from netcache.spi import RESUMABLE_BYTES_MIN
from tests.integration.conftest import NewClient
from tests.support.served import Served, random_bytes

MIB = 1 << 20
SIZES = (12 * MIB, RESUMABLE_BYTES_MIN + 5 * MIB)
"""One that is sent in one request, and one that could go on."""


def cut_while_it_is_sent(source: Path) -> ProgressSink:
    """As logs are when they are rotated."""

    def cut(event: ProgressEvent) -> None:
        if event.kind == "advance" and event.name.endswith(source.name):
            os.truncate(source, 100)

    return cut


@pytest.mark.parametrize("bwlimit", [None, 1 << 40], ids=["runs", "pieces"])
@pytest.mark.parametrize("size", SIZES)
def test_a_file_that_shrinks_while_it_is_put_is_named(
    served: Served, new_client: NewClient, tmp_path: Path, size: int, bwlimit: int | None
) -> None:
    """It is no mistake of the caller's (exit code 1), and what was there stays."""
    source, url = tmp_path / "app.log", served.put("up", b"before")
    source.write_bytes(random_bytes(size))
    client = new_client(bwlimit=bwlimit)
    with pytest.raises(NetCacheError, match="changed while it was read") as caught:
        client.put(source, url, progress=cut_while_it_is_sent(source))
    assert caught.value.exit_code == 1
    assert caught.value.url == url
    assert str(source) in str(caught.value)
    assert "nothing was stored" in str(caught.value)
    assert (served.root / "up").read_bytes() == b"before"


def test_in_a_tree_it_is_the_error_of_its_name(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """The others arrive."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "app.log").write_bytes(random_bytes(SIZES[0]))
    (tree / "other").write_bytes(b"1")
    url = served.url + "tree"
    report = client.put(tree, url, recursive=True, progress=cut_while_it_is_sent(tree / "app.log"))
    (error,) = report.errors
    assert (error.name, error.code) == ("app.log", 1)
    assert f"{tree / 'app.log'} to {url}/app.log failed" in error.error
    assert os.listdir(served.root / "tree") == ["other"]
