"""Whole downloads: how many exchanges they take, near and far."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

import netcache
from netcache._client.target import place_bytes
from netcache._core.content import Content
from netcache._core.readplan import CUT_BYTES_MIN, FIRST_BYTES
from netcache_server import FaultRule
from tests.integration.conftest import NewClient
from tests.support.costs import counted
from tests.support.served import Served, random_bytes

DATA = random_bytes(FIRST_BYTES + 2 * CUT_BYTES_MIN + 1234, 8)


def extents(served: Served) -> list[tuple[int, int]]:
    """What was asked for, in order of position."""
    asked = []
    for record in served.requests("GET"):
        low, high = record["range"].removeprefix("bytes=").split("-")
        asked.append((int(low), int(high) + 1))
    return sorted(asked)


@pytest.mark.parametrize("how", ["get", "warm"])
def test_the_rest_of_a_large_resource_comes_side_by_side(
    served: Served, client: netcache.Client, tmp_path: Path, how: str
) -> None:
    """Far away: the first answer tells so; each byte still comes once, and in order."""
    url = served.put("big", DATA)
    served.server.set_faults([FaultRule(latency_s=0.03)])
    if how == "get":
        client.get(url, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == DATA
    else:
        client.warm(url)
    asked = extents(served)
    assert asked[0] == (0, FIRST_BYTES)
    assert len(asked) == 4
    assert all(end - start <= 4 * CUT_BYTES_MIN for start, end in asked)
    assert served.body_bytes() == len(DATA)
    assert client.cache.map(url).content is Content.ALL


def test_a_resource_of_moderate_size_is_one_request(
    served: Served, new_client: NewClient, tmp_path: Path
) -> None:
    """Wherever the server is."""
    data = DATA[: CUT_BYTES_MIN + 5]
    url = served.put("data", data)
    for number, latency_s in enumerate((0.0, 0.03)):
        served.server.set_faults([FaultRule(latency_s=latency_s)])
        served.forget()
        client = new_client(cache_dir=tmp_path / f"cache{number}")
        client.get(url, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == data
        assert served.count() == 1


def test_a_large_resource_that_joins_no_ranges_comes_whole(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """A weak validator: the first answer cannot be gone on from."""
    url = served.put("weak", DATA)
    served.server.set_faults([FaultRule(validator="weak")])
    client.get(url, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == DATA


def test_a_small_resource_that_joins_no_ranges_is_one_request(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """A partial answer that holds everything is as good as a whole one."""
    url = served.put("weak", DATA[:100_000])
    served.server.set_faults([FaultRule(validator="weak")])
    client.get(url, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == DATA[:100_000]
    assert served.count() == 1


def test_a_part_that_breaks_off_is_asked_for_again(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """Side by side, one of them cut: only its rest comes again."""
    url = served.put("big", DATA)
    served.server.set_faults(
        [
            FaultRule(latency_s=0.03),
            FaultRule(skip=1, count=1, cut_after=5 << 20),
        ]
    )
    client.get(url, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == DATA
    # What was under way when the connection was cut may be lost with it.
    assert len(DATA) <= served.body_bytes() <= len(DATA) + (1 << 20)
    assert client.cache.map(url).content is Content.ALL


def permissions(path: Path) -> int:
    """Who may do what."""
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("size", [1000, 3 << 20])
def test_a_file_that_is_replaced_keeps_its_permissions(
    served: Served, new_client: NewClient, tmp_path: Path, size: int
) -> None:
    """By a file alone, cold and cached, and in a tree; no more of its mode than those."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "new").touch()
    modes = {"private": 0o600, "tool": 0o755, "odd": 0o640, "new": permissions(tree / "new")}
    (tree / "new").unlink()
    for name, mode in modes.items():
        served.put(f"tree/{name}", random_bytes(size))
        if name != "new":
            (tree / name).touch()
            (tree / name).chmod(mode | (stat.S_ISUID if name == "tool" else 0))
    for _ in ("cold", "cached"):
        for name in modes:
            new_client().get(f"{served.url}tree/{name}", tree / name)
        assert {path.name: permissions(path) for path in tree.iterdir()} == modes
    for name in modes:
        (tree / name).write_bytes(b"old")
    report = new_client(cache_dir=tmp_path / "other").sync(served.url + "tree", tree)
    assert report.copied == len(modes)
    assert {path.name: permissions(path) for path in tree.iterdir()} == modes
    assert {path.stat().st_size for path in tree.iterdir()} == {size}


def test_a_link_that_is_replaced_gives_no_permissions(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """They are those of what it leads to."""
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "new").touch()
    (tmp_path / "link").symlink_to("secret")
    client.get(served.put("data", b"1"), tmp_path / "link")
    assert permissions(tmp_path / "link") == permissions(tmp_path / "new")
    assert (tmp_path / "secret").read_bytes() == b""


@pytest.mark.parametrize("nameless", [True, False])
def test_only_a_name_that_is_taken_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool
) -> None:
    """A new file costs no call more; without nameless files it is looked for."""
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE")
    place = tmp_path / "place"
    for turn in range(2):
        with counted() as costs:
            place_bytes(str(place), b"1", None)
        looked = turn == 1 or not nameless
        assert (costs.kernel["lstat"], costs.kernel["fchmod"]) == (looked, turn)
        place.chmod(0o600)
    assert permissions(place) == 0o600
    assert os.listdir(tmp_path) == ["place"]
