"""A server to be fuzzed, in a process of its own, and what must be true of it at any time."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from netcache_server.hosting import ServerProcess
from netcache_server.partial import MAX_UPLOADS
from netcache_server.paths import PART_PREFIX
from tests.fuzz.answers import statuses
from tests.fuzz.grammar import Case
from tests.server.wire import ask

SECRET = b"this lies outside of the served folder"
ALIVE = b"the server is alive"
PLANTED = PART_PREFIX + "x"
UPLOADS = PART_PREFIX + "uploads"
BODY_BYTES_MAX = 1 << 20
GROWTH_BYTES_MAX = 16 << 20
PATIENCE_S = 0.03
"""How long an answer is waited for before our side is closed: the server may want more of us."""
LIMIT_S = 20.0
SETTLING_REQUESTS = 500


class Fuzzed:
    """The server, its folder ``root``, and what lies ``outside``."""

    def __init__(self, area: Path, process: ServerProcess) -> None:
        self.area = area
        self.root = area / "root"
        self.server = process
        self.seen: Counter[int] = Counter()
        self._proc = Path("/proc") / str(process.pid)
        self.plant()
        self._outside = self._look_outside()
        self._descriptors = 0
        self._memory = 0

    def plant(self) -> None:
        """Fill the folder; what earlier requests left of it is removed."""
        for path in list(self.root.iterdir()):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        (self.root / "alive").write_bytes(ALIVE)
        (self.root / "a").write_bytes(b"aaaaa")
        (self.root / "b.bin").write_bytes(bytes(100_000))
        (self.root / "d").mkdir()
        (self.root / "d/c").write_bytes(b"ccc")
        (self.root / "inner").symlink_to("d/c")
        (self.root / "out").symlink_to("../outside/secret")
        (self.root / "outdir").symlink_to(self.area / "outside")
        (self.root / "circle").symlink_to("circle")
        os.mkfifo(self.root / "pipe")
        (self.root / PLANTED).write_bytes(SECRET)

    def send(self, case: Case) -> list[int]:
        """Send a case, and judge what comes: HTTP, no bug of the server, no secret."""
        with socket.create_connection(("127.0.0.1", self.server.port), LIMIT_S) as connection:
            with suppress(ConnectionError):
                start = 0
                for cut in (*case.cuts, len(case.data)):
                    connection.sendall(case.data[start:cut])
                    start = cut
            answer = _all_of(connection)
        assert SECRET not in answer
        found = statuses(answer)
        assert 500 not in found, answer[:300]
        self.seen.update(found)
        return found

    def check(self) -> None:
        """The server answers, holds no descriptors of gone connections, and left the rest alone."""
        for _ in range(SETTLING_REQUESTS):
            # Connections that we have closed are let go in the server's own time.
            answer = ask(self.server, "GET", "/alive")
            assert (answer.status, answer.body) == (200, ALIVE), f"{answer.status} {answer.body!r}"
            descriptors = len(os.listdir(self._proc / "fd"))
            self._descriptors = self._descriptors or descriptors
            if descriptors <= self._descriptors:
                break
        else:
            raise AssertionError(f"descriptors: {self._descriptors} became {descriptors}")
        assert self._look_outside() == self._outside
        assert sorted(os.listdir(self.area)) == ["log", "outside", "root"]
        hidden = {name for name in os.listdir(self.root) if name.startswith(PART_PREFIX)}
        assert hidden <= {PLANTED, UPLOADS}, f"left behind: {hidden}"
        uploads = os.listdir(self.root / UPLOADS) if UPLOADS in hidden else []
        assert len(uploads) <= 2 * MAX_UPLOADS, f"{len(uploads)} files of uploads"

    def check_memory(self) -> None:
        """Compared with the first call, memory has not grown by more than a bound."""
        now = int((self._proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        self._memory = self._memory or now
        assert now - self._memory < GROWTH_BYTES_MAX, f"{self._memory} became {now}"

    def check_log(self) -> None:
        """Each line of the log is one JSON object, whatever stood in the requests."""
        with open(self.area / "log", "rb") as file:
            for line in file:
                assert json.loads(line)["method"] is not None
                assert line.isascii()

    def _look_outside(self) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for path in sorted((self.area / "outside").rglob("*")):
            status = path.lstat()
            data = path.read_bytes() if path.is_file() else b""
            found.append((path, status.st_mode, status.st_mtime_ns, status.st_ctime_ns, data))
        return found


@contextmanager
def fuzzed_server(area: Path) -> Iterator[Fuzzed]:
    """Serve ``area/root`` beside ``area/outside``."""
    (area / "root").mkdir()
    (area / "outside" / "folder").mkdir(parents=True)
    (area / "outside/secret").write_bytes(SECRET)
    arguments = (str(area / "root"), "--no-fsync", "--log", str(area / "log"))
    with ServerProcess(*arguments, "--max-body-bytes", str(BODY_BYTES_MAX)) as process:
        yield Fuzzed(area, process)


def _all_of(connection: socket.socket) -> bytes:
    """All that comes.  When nothing comes for a moment, our side ends, and the server's follows."""
    received = bytearray()
    is_open = True
    with suppress(ConnectionError):
        while True:
            ready, _, _ = select.select([connection], [], [], PATIENCE_S if is_open else LIMIT_S)
            if ready:
                chunk = connection.recv(1 << 16)
                if not chunk:
                    break
                received += chunk
            elif is_open:
                connection.shutdown(socket.SHUT_WR)
                is_open = False
            else:
                raise AssertionError(f"the server keeps a connection that we ended: {received!r}")
    return bytes(received)
