"""Trees at a real nginx, whose index shows no name that begins with a dot."""

from __future__ import annotations

from pathlib import Path

import pytest

import netcache
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
