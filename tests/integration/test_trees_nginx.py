"""Trees at a real nginx, whose index shows no name that begins with a dot."""

from __future__ import annotations

from pathlib import Path

import pytest

import netcache
from netcache.errors import RemoteError
from tests.support.nginx import NGINX, running_nginx

pytestmark = [
    pytest.mark.nginx,
    pytest.mark.skipif(NGINX is None, reason="no nginx on this machine"),
]


def test_a_tree_with_dot_files_goes_up_again_and_again(
    client: netcache.Client, tmp_path: Path
) -> None:
    """The second run sends nothing, and the third what was edited."""
    tree = tmp_path / "tree"
    (tree / ".git").mkdir(parents=True)
    for name in ("shown", ".gitignore", ".git/config"):
        (tree / name).write_bytes(b"one")
    directory = tmp_path / "nginx"
    directory.mkdir()
    with running_nginx(directory) as server:
        url = server.url + "t/"
        assert client.sync(tree, url).copied == 3
        again = client.sync(tree, url)
        assert (again.copied, again.unchanged, again.errors) == (0, 3, [])
        (tree / ".gitignore").write_bytes(b"another")
        third = client.sync(tree, url)
        assert (third.copied, third.unchanged, third.errors) == (1, 2, [])
        assert (server.root / "t" / ".gitignore").read_bytes() == b"another"


def test_a_link_that_dangles_keeps_its_copy(client: netcache.Client, tmp_path: Path) -> None:
    """nginx names it as neither file nor folder; a folder that holds one is not empty."""
    directory, copy = tmp_path / "nginx", tmp_path / "copy"
    directory.mkdir()
    with running_nginx(directory) as server:
        (server.root / "t").mkdir()
        (server.root / "t" / "current").write_bytes(b"one")
        url = server.url + "t/"
        assert client.sync(url, copy, delete=True).copied == 1
        (server.root / "t" / "current").unlink()
        (server.root / "t" / "current").symlink_to("nowhere")
        report = client.sync(url, copy, delete=True)
        assert (report.deleted, report.skipped) == (0, ["current"])
        assert (copy / "current").read_bytes() == b"one"
        with pytest.raises(RemoteError, match="not empty"):
            client.rm(url)
