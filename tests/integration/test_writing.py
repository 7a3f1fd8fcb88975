"""Writing through the client: what the server and the cache have afterwards."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import netcache
from netcache._core.content import Content
from netcache_server import FaultRule
from tests.integration.conftest import NewClient
from tests.support.nginx import NGINX, running_nginx
from tests.support.served import Served, random_bytes

MIB = 1 << 20
SMALL = random_bytes(70_001, 1)
LARGE = random_bytes(9 * MIB + 77, 2)


@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_what_is_written_is_at_the_server_and_in_the_cache(
    served: Served, client: netcache.Client, data: bytes
) -> None:
    """``wb``: one pass to both; reading it back needs no body."""
    url = served.url + "new"
    with client.open(url, "wb") as file:
        for start in range(0, len(data), 50_000):
            file.write(data[start : start + 50_000])
    assert (served.root / "new").read_bytes() == data
    served.forget()
    with client.open(url) as file:
        assert file.read() == data
    assert served.body_bytes() == 0
    if data:
        assert client.cache.map(url).content is Content.ALL


def test_an_exception_publishes_nothing(served: Served, client: netcache.Client) -> None:
    """An exception inside ``with`` aborts: the old object stays as it was."""
    url = served.put("data", SMALL)
    with pytest.raises(RuntimeError), client.open(url, "wb") as file:  # noqa: PT012
        file.write(LARGE)
        raise RuntimeError
    assert (served.root / "data").read_bytes() == SMALL
    with client.open(url) as file:
        assert file.read() == SMALL


def test_a_writer_that_is_not_closed_publishes_nothing(
    served: Served, client: netcache.Client
) -> None:
    """No work in ``__del__``."""
    file = client.open(served.url + "new", "wb")
    file.write(SMALL)
    del file
    assert not (served.root / "new").exists()


def test_exclusive_creation(served: Served, client: netcache.Client) -> None:
    """``xb``: only where nothing is."""
    url = served.put("data", SMALL)
    with pytest.raises(FileExistsError):
        client.open(url, "xb")
    with client.open(served.url + "new", "xb") as file:
        file.write(b"first")
    assert (served.root / "new").read_bytes() == b"first"


def test_two_writers_do_not_overwrite_each_other(
    served: Served, client: netcache.Client, new_client: NewClient
) -> None:
    """P7: the second to finish gets ``ConflictError``, the first one's bytes stay."""
    url = served.put("data", SMALL)
    first, second = client.open(url, "wb"), new_client().open(url, "wb")
    first.write(b"first")
    second.write(b"second")
    first.close()
    with pytest.raises(netcache.ConflictError):
        second.close()
    assert (served.root / "data").read_bytes() == b"first"


@pytest.mark.parametrize("mode", ["r+b", "ab", "w+b"])
def test_editing(served: Served, client: netcache.Client, mode: str) -> None:
    """Edits in place arrive as a new version, byte for byte what a local file would be."""
    url = served.put("data", SMALL)
    local = io.BytesIO(b"" if mode == "w+b" else SMALL)
    with client.open(url, mode) as file:
        if mode == "ab":
            file.write(b"appended")
            local.seek(0, 2)
            local.write(b"appended")
        else:
            for start, data in ((0, b"head"), (50_000, b"x" * 30_000), (100_000, b"far")):
                file.pwrite(data, start)
                local.seek(start)
                local.write(data)
            assert file.pread(10, 50_000) == b"x" * 10
            file.truncate(90_000)
            local.truncate(90_000)
    assert (served.root / "data").read_bytes() == local.getvalue()
    with client.open(url) as again:
        assert again.read() == local.getvalue()


def test_an_edit_is_conditional(served: Served, client: netcache.Client) -> None:
    """A change by somebody else in between is a conflict; his bytes stay."""
    url = served.put("data", SMALL)
    file = client.open(url, "r+b")
    # Before the write, which is put under way at once.
    served.put("data", b"his")
    file.pwrite(b"mine", 0)
    with pytest.raises(netcache.ConflictError):
        file.close()
    assert (served.root / "data").read_bytes() == b"his"


def test_fsync_sends_and_goes_on(served: Served, client: netcache.Client) -> None:
    """After ``fsync`` the server has it; a second one starts from that version."""
    url = served.put("data", SMALL)
    with client.open(url, "r+b") as file:
        file.pwrite(b"one", 0)
        file.fsync()
        assert (served.root / "data").read_bytes()[:3] == b"one"
        file.pwrite(b"two", 0)
    assert (served.root / "data").read_bytes()[:3] == b"two"


@pytest.mark.parametrize("mode", ["wb", "xb"])
def test_fsync_of_a_stream_promises_nothing(
    served: Served, client: netcache.Client, mode: str
) -> None:
    """It returned, and the server had nothing.  The stream goes on."""
    with client.open(served.url + "data", mode) as file:
        file.write(SMALL)
        with pytest.raises(io.UnsupportedOperation, match="published as a whole at close"):
            file.fsync()
        assert served.count("PUT") == 0
        file.write(SMALL)
    assert (served.root / "data").read_bytes() == SMALL * 2


def test_opening_for_editing_changes_nothing_by_itself(
    served: Served, client: netcache.Client
) -> None:
    """``r+b`` without a write sends nothing."""
    url = served.put("data", SMALL)
    with client.open(url, "r+b") as file:
        file.pread(10, 0)
    assert served.count("PUT") == 0


def test_editing_what_is_missing(served: Served, client: netcache.Client) -> None:
    """``r+b`` needs the resource; ``ab`` makes it."""
    with pytest.raises(FileNotFoundError):
        client.open(served.url + "nothing", "r+b")
    with client.open(served.url + "log", "ab") as file:
        file.write(b"line\n")
    assert (served.root / "log").read_bytes() == b"line\n"


@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_put_uploads_and_caches_in_one_pass(
    served: Served, client: netcache.Client, tmp_path: Path, data: bytes
) -> None:
    """``put``: server and cache have it, the mtime too."""
    (tmp_path / "file").write_bytes(data)
    report = client.put(tmp_path / "file", served.url + "a/b/new")
    assert (report.copied, report.bytes) == (1, len(data))
    assert (served.root / "a/b/new").read_bytes() == data
    served.forget()
    client.get(served.url + "a/b/new", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    assert served.body_bytes() == 0
    assert int((tmp_path / "back").stat().st_mtime) == int((tmp_path / "file").stat().st_mtime)


def test_put_conditions(served: Served, client: netcache.Client, tmp_path: Path) -> None:
    """``if_match`` and ``no_clobber`` raise ``ConflictError`` and change nothing."""
    (tmp_path / "file").write_bytes(b"new")
    url = served.put("data", SMALL)
    with pytest.raises(netcache.ConflictError):
        client.put(tmp_path / "file", url, no_clobber=True)
    with pytest.raises(netcache.ConflictError):
        client.put(tmp_path / "file", url, if_match='"nonsense"')
    assert (served.root / "data").read_bytes() == SMALL
    etag = client.stat(url).etag
    client.put(tmp_path / "file", url, if_match=etag)
    assert (served.root / "data").read_bytes() == b"new"


def put_anew(new_client: NewClient, file: Path, url: str) -> int:
    """Upload with a new client; returns how many bytes it wrote to the cache."""
    with new_client() as client:
        client.put(file, url)
        return client.stats()["CaWrOps"]["bytes"]


def test_what_no_reply_proves_is_copied_once_an_origin(
    served: Served, new_client: NewClient, tmp_path: Path
) -> None:
    """Later clients send it without a copy, until a reply proves what it made."""
    (tmp_path / "file").write_bytes(LARGE)
    served.server.set_faults([FaultRule(method=("PUT",), validator="none")])
    copied = [put_anew(new_client, tmp_path / "file", served.url + name) for name in "abc"]
    assert copied == [len(LARGE), 0, 0]
    served.server.set_faults()
    copied = [put_anew(new_client, tmp_path / "file", served.url + name) for name in "de"]
    assert copied == [0, len(LARGE)]
    for name in "abcde":
        assert (served.root / name).read_bytes() == LARGE
    assert new_client().cache.map(served.url + "e").content is Content.ALL


def test_an_upload_without_a_copy_ends_what_was_cached_before(
    served: Served, new_client: NewClient, tmp_path: Path
) -> None:
    """Also when its reply proves it, and there is nothing to show instead."""
    (tmp_path / "file").write_bytes(SMALL)
    url = served.url + "new"
    served.server.set_faults([FaultRule(method=("PUT",), validator="none")])
    put_anew(new_client, tmp_path / "file", url)
    served.server.set_faults()
    new_client().warm(url)
    (tmp_path / "file").write_bytes(SMALL[::-1])
    assert put_anew(new_client, tmp_path / "file", url) == 0
    with pytest.raises(netcache.NotCachedError):
        b"".join(new_client(offline=True).cat(url))


@pytest.mark.nginx
@pytest.mark.skipif(NGINX is None, reason="no nginx on this machine")
def test_nginx_is_known_to_prove_no_upload(new_client: NewClient, tmp_path: Path) -> None:
    """Its name is in the reply to the first question: not even one copy is made."""
    (tmp_path / "file").write_bytes(LARGE)
    with running_nginx(tmp_path / "nginx") as server:
        assert put_anew(new_client, tmp_path / "file", server.url + "new") == 0
        assert (server.root / "new").read_bytes() == LARGE


def test_put_of_a_stream(served: Served, client: netcache.Client) -> None:
    """A stream of unknown length arrives whole."""
    client.put(io.BytesIO(LARGE), served.url + "stream")
    assert (served.root / "stream").read_bytes() == LARGE


def test_get_replaces_a_file_when_it_is_complete(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """The target has its old or its new bytes; a failure leaves the old ones and nothing else."""
    target = tmp_path / "out" / "data"
    target.parent.mkdir()
    target.write_bytes(b"old")
    with pytest.raises(FileNotFoundError):
        client.get(served.url + "nothing", target)
    assert target.read_bytes() == b"old"
    client.get(served.put("data", LARGE), target)
    assert target.read_bytes() == LARGE
    assert [path.name for path in target.parent.iterdir()] == ["data"]


def test_rm_deletes_and_forgets(served: Served, client: netcache.Client) -> None:
    """After ``rm`` neither server nor cache has it."""
    url = served.put("data", SMALL)
    client.warm(url)
    client.rm(url)
    assert not (served.root / "data").exists()
    assert client.cache.extents(url) == []
    with pytest.raises(netcache.NotFoundError):
        client.rm(url)


async def test_the_asynchronous_face_writes_the_same(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """``AsyncClient``: writing, editing, aborting."""
    url = served.url + "new"
    async with netcache.AsyncClient(cache_dir=client._core.options.cache_dir) as other:
        async with await other.open(url, "wb") as file:
            await file.write(LARGE)
        async with await other.open(url, "r+b") as file:
            await file.pwrite(b"edit", 10)
        with pytest.raises(RuntimeError):  # noqa: PT012
            async with await other.open(url, "wb") as file:
                await file.write(b"never")
                raise RuntimeError
    assert (served.root / "new").read_bytes() == LARGE[:10] + b"edit" + LARGE[14:]
