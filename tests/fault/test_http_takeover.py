"""The receiver on aiohttp's transport: it is really taken, and gives the connection back intact."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from netcache._core.extent import Extent
from netcache.backends.http import HttpBackend
from netcache.backends.http_pieces import BufferPool, Pieces
from netcache.backends.http_reply import HttpReadReply
from netcache.backends.http_takeover import find_seat
from netcache.backends.throttle import Throttle
from netcache.errors import RemoteProtocolError
from tests.conformance.peers import Collector
from tests.support.http_rig import DATA, MIB, MakeClient, Rig, running_rig
from tests.support.proxy import Seen, answer, running_relay, scripted_server


async def read(
    backend: HttpBackend, url: str, extent: Extent | None = None
) -> tuple[bytes, HttpReadReply]:
    """The bytes, and the reply that they came by."""
    reply = await backend.open_read(url, extent)
    assert isinstance(reply, HttpReadReply)
    collector = Collector()
    await reply.receive(collector)
    return bytes(collector.data), reply


async def test_the_receiver_is_taken_with_the_aiohttp_at_hand(rig: Rig) -> None:
    """If this fails after an update of aiohttp, bodies are right but cost twice as much."""
    data, reply = await read(rig.client(), rig.url)
    assert data == DATA
    assert reply.path == "receiver"


async def test_the_receiver_is_taken_above_tls(tmp_path: Path) -> None:
    """The same through TLS."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    served = tmp_path / "root"
    await asyncio.to_thread(served.mkdir)
    pem = tmp_path / "server.pem"
    async with running_rig(served, tls_cert=pem, tls_key=pem) as rig:
        backend = rig.client(ca_cert=str(tmp_path / "ca.pem"))
        for _ in range(3):
            data, reply = await read(backend, rig.url)
            assert data == DATA
            assert reply.path == "receiver"


async def test_switched_off_the_stream_is_taken(rig: Rig) -> None:
    """The same bytes the other way."""
    data, reply = await read(rig.client(takeover=False), rig.url)
    assert data == DATA
    assert reply.path == "stream"


async def test_small_and_chunked_bodies_take_the_stream(rig: Rig, make_client: MakeClient) -> None:
    """Where there is nothing to gain, or no length, aiohttp's stream serves."""
    backend = rig.client()
    data, reply = await read(backend, rig.url, Extent(10, 4106))
    assert (data, reply.path) == (DATA[10:4106], "stream")

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, MIB, 100_000):
            chunk = DATA[start : min(start + 100_000, MIB)]
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async with scripted_server(script) as server:
        other = make_client()
        data, reply = await read(other, server.url)
        assert (data, reply.path) == (DATA[:MIB], "stream")
        assert (await read(other, server.url))[0] == DATA[:MIB]
        assert {seen.connection for seen in server.seen} == {1}


@pytest.mark.parametrize("takeover", [True, False])
async def test_one_connection_serves_many_bodies(rig: Rig, takeover: bool) -> None:
    """A connection goes back to the pool after exactly its body, whatever came before."""
    async with running_relay(rig.server.port) as relay:
        backend = rig.client(takeover=takeover)
        base = f"http://127.0.0.1:{relay.port}/"
        url = base + "a.bin"
        for _ in range(3):
            assert (await read(backend, url))[0] == DATA
            assert (await read(backend, url, Extent(5, MIB)))[0] == DATA[5:MIB]
            assert (await read(backend, url, Extent(7, 9)))[0] == DATA[7:9]
            assert await backend.stat(url) is not None
            assert len(await backend.list(base)) == 1
            nothing = await backend.open_read(url, Extent(len(DATA), len(DATA) + 1))
            await nothing.close()
        await backend.close()
        assert relay.connections == 1


async def test_unread_body_costs_its_connection(rig: Rig) -> None:
    """A reply that is closed unread cannot give its connection back."""
    async with running_relay(rig.server.port) as relay:
        backend = rig.client()
        url = f"http://127.0.0.1:{relay.port}/a.bin"
        await (await backend.open_read(url)).close()
        assert (await read(backend, url))[0] == DATA
        await backend.close()
        assert relay.connections == 2


async def test_a_seat_is_not_found_where_there_is_none(rig: Rig) -> None:
    """A body that has ended has no transport to take over."""
    backend = rig.client()
    reply = await backend.open_read(rig.url, Extent(0, 10))
    assert isinstance(reply, HttpReadReply)
    response = reply._response
    assert isinstance(response, aiohttp.ClientResponse)
    await response.read()
    assert find_seat(response) is None
    await reply.close()


async def test_bytes_on_an_idle_connection_do_not_reach_the_next_reply(
    make_client: MakeClient,
) -> None:
    """What a server sends after a body is not taken for the answer to the next question."""
    stray = answer(200, b"stray" * 20_000)

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(answer(200, DATA[:MIB]))
        await writer.drain()
        if seen.target == "/first":
            writer.write(b"nonsense" + stray)

    async with scripted_server(script) as server:
        backend = make_client()
        for name in ("first", "second", "third"):
            try:
                data, _ = await read(backend, server.url + name)
            except RemoteProtocolError:
                assert name == "first"
            else:
                assert data == DATA[:MIB]


async def test_bandwidth_limit_holds(rig: Rig) -> None:
    """A limited body takes as long as it should, on both paths, and arrives whole."""
    loop = asyncio.get_running_loop()
    for takeover in (True, False):
        backend = rig.client(bandwidth_limit=4 * MIB, takeover=takeover)
        begun = loop.time()
        data, _ = await read(backend, rig.url, Extent(0, 2 * MIB))
        assert data == DATA[: 2 * MIB]
        assert loop.time() - begun >= 0.35


def test_throttle_counts_by_the_clock() -> None:
    """Bytes beyond the burst have to wait as long as the rate says; a pause earns a burst."""
    now = [0.0]
    throttle = Throttle(1000, clock=lambda: now[0])
    assert throttle.spend(100) == 0.0
    assert throttle.spend(500) == pytest.approx(0.5)
    now[0] += 0.5
    assert throttle.spend(0) == 0.0
    now[0] += 100.0
    assert throttle.spend(100) == 0.0
    assert throttle.spend(1) == pytest.approx(0.001)
    assert Throttle(None).spend(1 << 40) == 0.0


@settings(max_examples=200, deadline=None)
@given(
    start=st.integers(0, 3 << 20),
    length=st.integers(1, 3 << 20),
    notice=st.sampled_from([1 << 16, 1 << 18, 1 << 20, 1 << 21]),
    steps=st.lists(st.tuples(st.integers(1, 1 << 20), st.booleans()), min_size=1, max_size=20),
    excess=st.integers(0, 2),
    told=st.booleans(),
)
def test_pieces_are_contiguous_aligned_and_complete(
    start: int,
    length: int,
    notice: int,
    steps: list[tuple[int, bool]],
    excess: int,
    told: bool,
) -> None:
    """However the bytes trickle in: every byte once, in order, cut at boundaries only."""
    pool, collector = BufferPool(), Collector()
    pieces = Pieces(pool, start, start + length if told else -1, collector, notice)
    source = memoryview(DATA * 2)[: length + (excess if told else 0)]
    at = step = 0
    while at < len(source) and not pieces.excess:
        room = pieces.room()
        wish, waiting = steps[step % len(steps)]
        count = min(len(room), wish, len(source) - at)
        room[:count] = source[at : at + count]
        pieces.added(count, more_waiting=waiting)
        at, step = at + count, step + 1
    pieces.finish()
    assert pieces.excess is (told and excess > 0 and at > length)
    assert pieces.complete is told
    assert bytes(collector.data) == bytes(source[:length])
    assert pieces.taken_bytes == length
    ends = [end for _, end in collector.pieces]
    assert [begin for begin, _ in collector.pieces] == [start, *ends[:-1]]
    assert all(end % notice == 0 for end in ends[:-1])
    pieces.release()
    pieces.release()
