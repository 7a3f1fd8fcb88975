"""A real nginx on loopback, from a configuration of its own, for the tests that need one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")

_CONFIG = """\
daemon off;
{user}
master_process off;
pid {state}/nginx.pid;
error_log {state}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {state}/body;
    proxy_temp_path {state}/proxy;
    fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi;
    scgi_temp_path {state}/scgi;
    sendfile on;
    keepalive_timeout 60;
    default_type application/octet-stream;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        {autoindex}
        {max_ranges}
        dav_methods {methods};
        create_full_put_path {create_parents};
    }}
}}
"""


class NginxServer:
    """A running nginx that serves and takes ``root``; ``url`` ends with a slash."""

    def __init__(self, url: str, root: Path) -> None:
        self.url = url
        self.root = root


@contextmanager
def running_nginx(
    directory: Path,
    *,
    autoindex: str | None = "json",
    create_parents: bool = True,
    max_ranges: int | None = None,
    methods: str = "PUT DELETE MKCOL MOVE",
) -> Iterator[NginxServer]:
    """Run nginx with its files under ``directory``; stopped at the end of the block.

    ``autoindex`` is the format of its listings; None: it lists nothing.  More than ``max_ranges``
    ranges in one request make it send everything.
    """
    assert NGINX is not None, "no nginx on this machine"
    root, state = directory / "root", directory / "state"
    root.mkdir(parents=True)
    state.mkdir()
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    config = directory / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            user="user root;" if os.geteuid() == 0 else "",
            state=state,
            root=root,
            port=port,
            autoindex=f"autoindex on; autoindex_format {autoindex};" if autoindex else "",
            max_ranges="" if max_ranges is None else f"max_ranges {max_ranges};",
            methods=methods,
            create_parents="on" if create_parents else "off",
        )
    )
    process = subprocess.Popen(
        [NGINX, "-p", str(state), "-c", str(config)], stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(process, port)
        yield NginxServer(f"http://127.0.0.1:{port}/", root)
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Connect until it listens; a connection is refused at once, so this never sleeps long."""
    for _ in range(500):
        if process.poll() is not None:
            raise RuntimeError(f"nginx ended with {process.returncode}")
        with closing(socket.socket()) as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            process.wait(0.01)
        except subprocess.TimeoutExpired:
            continue
    raise RuntimeError("nginx does not listen")
