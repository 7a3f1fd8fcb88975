"""The rig: data, a real nginx on loopback, a clock."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

_NGINX_CONF = """
{user}
worker_processes 1;
daemon off;
error_log {root}/error.log;
pid {root}/nginx.pid;
events {{ worker_connections 256; }}
http {{
  access_log off;
  sendfile on;
  client_max_body_size 0;
  client_body_temp_path {root}/body;
  proxy_temp_path {root}/proxy;
  fastcgi_temp_path {root}/fastcgi;
  uwsgi_temp_path {root}/uwsgi;
  scgi_temp_path {root}/scgi;
  keepalive_requests 1000000;
  server {{
    listen 127.0.0.1:{port};
    root {root}/www;
    autoindex on;
    autoindex_format json;
    dav_methods PUT DELETE MKCOL;
    create_full_put_path on;
    dav_access user:rw group:r all:r;
  }}
}}
"""


class Rig(NamedTuple):
    """Where things are: a scratch folder, the server's folder, its URL, the big file's size."""

    scratch: Path
    www: Path
    url: str
    size: int

    @property
    def big(self) -> Path:
        """The big file in the server's folder."""
        return self.www / "big.bin"

    def fresh(self, name: str) -> Path:
        """An empty folder of this name in the scratch folder."""
        folder = self.scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def another(self, name: str) -> Path:
        """An empty folder of a name that begins with this one; those before it stay.

        A filesystem without a journal passes over inodes that were freed in the last minute: who
        makes thousands of files where thousands were removed pays for it, and not each the same.
        """
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.scratch))


@contextlib.contextmanager
def rig(size: int) -> Iterator[Rig]:
    """A running nginx with a big file of random bytes; everything is removed afterwards."""
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    if not os.access(nginx, os.X_OK):
        raise SystemExit(
            "the benchmarks need nginx (Debian and Ubuntu: apt-get install nginx-light)"
        )
    with tempfile.TemporaryDirectory(prefix="netcache-bench-") as folder:
        scratch = Path(folder)
        scratch.chmod(0o755)
        www = scratch / "www"
        www.mkdir()
        with (www / "big.bin").open("wb") as file:
            for _ in range(size >> 20):
                file.write(os.urandom(1 << 20))
        port = _free_port()
        conf = scratch / "nginx.conf"
        user = "user root;" if os.getuid() == 0 else ""
        conf.write_text(_NGINX_CONF.format(root=scratch, port=port, user=user))
        server = subprocess.Popen([nginx, "-c", str(conf), "-p", str(scratch)])
        try:
            _await_port(port)
            yield Rig(scratch, www, f"http://127.0.0.1:{port}/", size)
        finally:
            server.terminate()
            server.wait()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _await_port(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise SystemExit("nginx did not start")


@contextlib.contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """``with timed() as seconds: ...; seconds()``."""
    start = time.perf_counter()
    end = start

    def seconds() -> float:
        return (end or time.perf_counter()) - start

    end = 0.0
    try:
        yield seconds
    finally:
        end = time.perf_counter()
