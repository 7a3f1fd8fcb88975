"""The chapters on writing: put, and sync in both directions."""

from __future__ import annotations

import json

from netcache._core.units import format_size
from netcache_cli.demo.material import copy_real_files, digest_of, same_trees, write_random
from netcache_cli.demo.stage import Ran, Stage, sent_bytes

FILES_MAX = 400


def put(stage: Stage, size: int) -> None:
    """What is put is cached in the same pass."""
    tale, name = stage.tale, "upload.bin"
    tale.chapter("Put a file")
    digest = write_random(stage.home / name, size)
    url = stage.url + name
    ran = stage.run("put", name, url)
    rate = format_size(int(size / ran.seconds))
    tale.say(f"{ran.seconds:.2f} s, {rate}/s")
    tale.check(
        "the server has it, byte for byte", digest_of(stage.www / name) == digest and ran.code == 0
    )
    stage.log.forget()
    ran = stage.run("get", url, "again.bin")
    sent = sent_bytes(stage.log.new_records())
    good = digest_of(stage.home / "again.bin") == digest
    tale.check("reading it back moves nothing over the network", good and sent == 0)
    ran = stage.run("put", "--no-clobber", name, url)
    tale.check("--no-clobber refuses to overwrite, with exit code 4", ran.code == 4)
    tale.keep(f"put: {format_size(size)} at {rate}/s, cached while it was sent")


def sync(stage: Stage) -> None:
    """A tree up, once more, and down again."""
    tale = stage.tale
    tale.chapter("Sync a tree of real files")
    count, size = copy_real_files(stage.home / "tree", FILES_MAX)
    tale.say(f"{count} files of Python's standard library, {format_size(size)}")
    url = stage.url + "tree"
    ran = stage.run("sync", "tree", url)
    tale.say(f"{ran.seconds:.2f} s, {count / ran.seconds:.0f} files/s")
    tale.check(
        "the server has the same tree",
        ran.code == 0 and same_trees(stage.home / "tree", stage.www / "tree"),
    )
    up_s = ran.seconds
    ran = stage.run("sync", "tree", url)
    tale.check("the second sync transfers nothing, and says so", "Nothing to transfer" in ran.out)
    ran = stage.run("sync", url, "back", "--json")
    report = _report(ran)
    tale.check("it comes back the same", same_trees(stage.home / "tree", stage.home / "back"))
    tale.check("all of it was copied", report.get("copied") == count and not report.get("failed"))
    stage.log.forget()
    ran = stage.run("sync", url, "back")
    sent = sent_bytes([r for r in stage.log.new_records() if r.get("status") == 206])
    tale.check("and is then up to date", "Nothing to transfer" in ran.out and sent == 0)
    tale.keep(
        f"sync: {count} files up in {up_s:.2f} s, the second run transferred nothing, back intact"
    )


def _report(ran: Ran) -> dict[str, object]:
    try:
        document = json.loads(ran.out)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def stats(stage: Stage) -> None:
    """What the cache has counted in all of these processes."""
    tale = stage.tale
    tale.chapter("Look at the cache")
    status = stage.run("cache", "status")
    counted = stage.run("stats")
    verified = stage.run("cache", "verify")
    tale.check(
        "status, counters and verification work", {status.code, counted.code, verified.code} == {0}
    )
