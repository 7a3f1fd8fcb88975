"""The chapters on reading: sparse, mapped, warm, whole, interrupted, changed, offline."""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from netcache._core.units import format_size
from netcache_cli.demo.material import digest_of, write_random
from netcache_cli.demo.stage import Stage, sent_bytes

if TYPE_CHECKING:
    from netcache.sync import File

READ_COUNT = 40
READ_BYTES = 8 << 10
_KILL_LIMIT_S = 30.0
_BLOCK_SLACK = 2 * 65536


def sparse(stage: Stage, name: str, size: int) -> None:
    """Scattered reads fetch the blocks that they touch; once."""
    from netcache.sync import Client

    tale, url = stage.tale, stage.url + name
    tale.chapter(f"Read a little of a large object ({format_size(size)})")
    places = _places(size)
    tale.say(
        f"{READ_COUNT} reads of {format_size(READ_BYTES)} all over it, as a program does them:"
    )
    tale.command(f"python: with client.open({url!r}) as file: file.pread({READ_BYTES}, offset)")
    stage.log.forget()
    with Client() as client, client.open(url) as file:
        cold, cold_s = _read_all(file, places)
        asked = stage.log.new_records()
        warm, warm_s = _read_all(file, places)
        asked_again = stage.log.new_records()
        block = client.cache.map(url).block_size
    served = stage.www / name
    with served.open("rb") as plain:
        wanted = [_read_at(plain, place) for place in places]
    fetched = sent_bytes(asked)
    touched = len({at for place in places for at in _blocks(place, size, block)}) * block
    tale.say(f"wanted {READ_COUNT * READ_BYTES} bytes, in {touched} bytes of blocks")
    tale.say(f"server's log: {len(asked)} requests, {fetched} bytes sent")
    tale.check("the bytes are right", cold == wanted)
    tale.check("only the touched blocks were fetched", 0 < fetched <= touched)
    tale.say(f"the same again: {warm_s * 1e6:.0f} us a read, {len(asked_again)} requests")
    tale.check("warm reads ask the server nothing", warm == cold and not asked_again)
    tale.keep(
        f"sparse read: {READ_COUNT} reads all over {format_size(size)} fetched {fetched} bytes in "
        f"{len(asked)} requests"
    )
    tale.keep(
        f"warm re-read: 0 requests, {warm_s * 1e6:.0f} us a read (cold: {cold_s * 1e6:.0f} us)"
    )


def _read_all(file: File, places: list[int]) -> tuple[list[bytes], float]:
    """The bytes, and the median time of a read."""
    data, times = [], []
    for place in places:
        begun = time.perf_counter()
        data.append(file.pread(READ_BYTES, place))
        times.append(time.perf_counter() - begun)
    return data, statistics.median(times)


def _read_at(file: BinaryIO, place: int) -> bytes:
    file.seek(place)
    return file.read(READ_BYTES)


def _places(size: int) -> list[int]:
    chance = random.Random(20)
    return sorted(chance.randrange(max(1, size - READ_BYTES)) for _ in range(READ_COUNT))


def _blocks(place: int, size: int, block: int) -> range:
    end = min(place + READ_BYTES, size)
    return range(place // block, -(-end // block))


def mapped(stage: Stage, name: str) -> None:
    """The picture, and a new process that reads from the cache."""
    tale, url = stage.tale, stage.url + name
    tale.chapter("See what is cached")
    ran = stage.run("cache", "map", url)
    tale.check("the map is drawn", ran.code == 0 and "cached" in ran.out)
    stage.log.forget()
    place = _places((stage.www / name).stat().st_size)[0]
    ran = stage.run(
        "cat", url, "--offset", str(place), "--count", "1", "--validate", "1h", show=False
    )
    asked = stage.log.new_records()
    tale.say(f"another process, one cached byte: {ran.seconds * 1e3:.0f} ms, {len(asked)} requests")
    tale.check("another process reads it from the cache too", ran.code == 0 and not asked)


def whole(stage: Stage, name: str, digest: bytes) -> None:
    """`get` fetches only what is not cached yet."""
    tale, url = stage.tale, stage.url + name
    tale.chapter("Get the whole object")
    size = (stage.www / name).stat().st_size
    stage.log.forget()
    ran = stage.run("get", url, "copy.bin")
    sent = sent_bytes(stage.log.new_records())
    rate = format_size(int(size / ran.seconds))
    tale.say(f"{ran.seconds:.2f} s, {rate}/s; server's log: {sent} bytes sent of {size}")
    tale.check("the file is right, byte for byte", digest_of(stage.home / "copy.bin") == digest)
    tale.check("what was cached was not fetched again", 0 < sent < size)
    ran = stage.run("get", url, "again.bin")
    sent_again = sent_bytes(stage.log.new_records())
    tale.say(f"and from the cache: {ran.seconds:.2f} s, {sent_again} bytes sent")
    tale.check(
        "the second get moved nothing over the network",
        sent_again == 0 and digest_of(stage.home / "again.bin") == digest,
    )
    tale.keep(f"get: {format_size(size)} at {rate}/s, then again with 0 bytes from the server")


def killed(stage: Stage, size: int) -> None:
    """A `get` that is killed goes on where it stopped."""
    tale, name = stage.tale, "second.bin"
    tale.chapter("Kill a get in the middle, and run it again")
    digest = write_random(stage.www / name, size)
    url, target = stage.url + name, stage.home / name
    stage.log.forget()
    process = stage.begin("get", url, name, "--bwlimit", str(size // 2))
    cached = _wait_until_cached(url, size // 3)
    process.kill()
    process.wait()
    tale.say(f"killed (SIGKILL) with {format_size(cached)} of {format_size(size)} in the cache")
    tale.check("nothing partial was left behind", not target.exists() and not _strays(stage.home))
    cached = _cached(url)
    stage.log.forget()
    ran = stage.run("get", url, name)
    # What the server still sent to the killed process broke off, and its log says so.
    ended = [record for record in stage.log.new_records() if not record.get("error")]
    sent = sent_bytes(ended)
    tale.say(f"server's log: {sent} bytes sent for what was missing of {size}")
    tale.check("the file is right, byte for byte", ran.code == 0 and digest_of(target) == digest)
    tale.check(
        "bytes that were cached were not fetched twice",
        cached > 0 and sent <= size - cached + _BLOCK_SLACK,
    )
    tale.keep(f"killed get: {format_size(cached)} kept, {format_size(sent)} fetched to finish")


def _strays(home: Path) -> list[str]:
    known = {"www", "cache", "config", "tree", "back", "requests.jsonl", "copy.bin", "again.bin"}
    return sorted({path.name for path in home.iterdir()} - known - {"upload.bin"})


def _cached(url: str) -> int:
    from netcache.errors import NetCacheError
    from netcache.sync import Client

    with Client(offline=True) as client:
        try:
            return client.cache.map(url).cached_bytes
        except NetCacheError:
            return 0


def _wait_until_cached(url: str, wanted: int) -> int:
    limit = time.monotonic() + _KILL_LIMIT_S
    while (cached := _cached(url)) < wanted and time.monotonic() < limit:
        time.sleep(0.02)
    return cached


def changed(stage: Stage, name: str, size: int) -> None:
    """A resource that changes at the server is seen at the next open."""
    tale, url = stage.tale, stage.url + name
    tale.chapter("Change the object at the server")
    digest = write_random(stage.www / name, size)
    tale.say(f"www/{name} is now another file of {format_size(size)}")
    ran = stage.run("get", url, "copy.bin")
    tale.check(
        "the new content arrives, nothing of the old",
        ran.code == 0 and digest_of(stage.home / "copy.bin") == digest,
    )


def offline(stage: Stage, name: str) -> None:
    """Without a server, what is cached is served, and what is not is named."""
    tale, url = stage.tale, stage.url + name
    tale.chapter("Stop the server, and go on")
    stage.stop_server()
    (stage.home / "again.bin").unlink(missing_ok=True)
    ran = stage.run("--offline", "get", url, "again.bin")
    good = digest_of(stage.home / "again.bin") == digest_of(stage.www / name)
    tale.check("the whole object is served from the cache", ran.code == 0 and good)
    ran = stage.run("--offline", "cat", stage.url + "never-seen.bin")
    tale.check("what is not cached is named, with exit code 8", ran.code == 8)
    tale.keep("offline: cached objects are served whole, others are refused by name (exit 8)")
