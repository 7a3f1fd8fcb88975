"""``python -m netcache_server DIR``: serve a folder until interrupted."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from netcache_server.faultcheck import FaultPlanError
from netcache_server.faults import FaultPlan
from netcache_server.options import OptionsError, ServerOptions
from netcache_server.runner import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve as the arguments say; gives the exit status (2 for bad usage, 1 for other errors)."""
    given = _parser().parse_args(arguments)
    try:
        plan = None if given.fault_plan is None else FaultPlan.from_file(given.fault_plan)
        options = ServerOptions(
            root=given.root,
            host=given.host,
            port=given.port,
            read_only=given.read_only,
            user=given.user,
            token=given.token,
            allow_unauthenticated=given.allow_unauthenticated,
            allowed_hosts=tuple(given.allow_host),
            tls_cert=given.tls_cert,
            tls_key=given.tls_key,
            log=given.log,
            fault_plan=plan,
            fault_control=given.fault_control,
            fsync=not given.no_fsync,
            autoindex=not given.no_autoindex,
            max_body_bytes=given.max_body_bytes,
        )
        run(options)
    except (OptionsError, FaultPlanError) as error:
        print(f"netcache_server: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"netcache_server: cannot serve {given.root}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m netcache_server",
        description="Serve a folder over HTTP. The first line of stdout is the URL.",
    )
    add = parser.add_argument
    add("root", metavar="DIR", help="the folder to serve")
    add("--host", default="127.0.0.1", help="where to listen (default: this machine only)")
    add("--port", type=int, default=0, help="the port; 0 takes a free one")
    add("--read-only", action="store_true", help="nothing can be changed")
    add(
        "--user",
        metavar="NAME:PASSWORD",
        default=os.environ.get("NETCACHE_SERVER_USER"),
        help="ask for this (also from NETCACHE_SERVER_USER)",
    )
    add(
        "--token",
        default=os.environ.get("NETCACHE_SERVER_TOKEN"),
        help="ask for this bearer token (also from NETCACHE_SERVER_TOKEN)",
    )
    add("--allow-unauthenticated", action="store_true", help="let other machines in without")
    add("--allow-host", action="append", default=[], metavar="NAME", help="a name of this server")
    add("--tls-cert", metavar="FILE", help="certificate chain in PEM")
    add("--tls-key", metavar="FILE", help="its private key in PEM")
    add("--log", metavar="FILE", help="append one JSON line a request; - is stderr")
    add("--fault-plan", metavar="FILE", help="misbehave as this JSON file says")
    add("--fault-control", action="store_true", help="allow PUT /.netcache/faults")
    add("--no-fsync", action="store_true", help="answer before a write is on the disk")
    add("--no-autoindex", action="store_true", help="do not list folders")
    add("--max-body-bytes", type=int, metavar="N", help="refuse larger uploads")
    return parser


if __name__ == "__main__":
    sys.exit(main())
