"""`netcache serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netcache_cli.session import Session
from netcache_cli.values import LocalPath, Size
from netcache_cli.verb import argument, option, verb

if TYPE_CHECKING:
    from netcache_server import FaultPlan


@verb("serve")
@argument("folder", metavar="DIR", type=LocalPath(is_folder=True))
@option("--host", default="127.0.0.1", show_default=True, help="Listen on this address.")
@option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    default=0,
    help="Listen on this port; 0, the default, takes a free one.",
)
@option("--read-only", is_flag=True, help="Nothing can be changed.")
@option(
    "--allow-unauthenticated",
    is_flag=True,
    typed_only=True,
    help="Let other machines in without --user or --token.",
)
@option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A host name that clients may use besides localhost and addresses. Repeatable.",
)
@option("--tls-cert", type=LocalPath(), help="Serve https with this certificate (PEM).")
@option("--tls-key", type=LocalPath(), help="The key of the certificate (PEM).")
@option("--max-body-bytes", type=Size(), metavar="SIZE", help="Refuse larger uploads.")
@option("--fault-plan", type=LocalPath(), help="Break on purpose, as this JSON file says.")
@option("--log", type=LocalPath(), help="Append a JSON line a request; - is stderr.")
def command(
    session: Session,
    folder: str,
    host: str,
    port: int,
    read_only: bool,
    allow_unauthenticated: bool,
    allowed_hosts: tuple[str, ...],
    tls_cert: str | None,
    tls_key: str | None,
    max_body_bytes: int | None,
    fault_plan: str | None,
    log: str | None,
) -> int | None:
    """Serve a folder: the bundled object server.

    Prints its URL as the first line, and runs until Ctrl-C or SIGTERM, its normal end (0). --user
    U:P and --token T are what clients must give; with both, either is enough.
    """
    from netcache_server import ServerOptions, run

    credentials = session.credentials()
    options = ServerOptions(
        root=folder,
        host=host,
        port=port,
        read_only=read_only,
        user=":".join(credentials) if credentials else None,
        token=session.settings.token,
        allow_unauthenticated=allow_unauthenticated,
        allowed_hosts=allowed_hosts,
        tls_cert=tls_cert,
        tls_key=tls_key,
        log=log,
        fault_plan=_fault_plan(fault_plan),
        max_body_bytes=max_body_bytes,
    )
    try:
        options.check()
    except ValueError as error:
        raise click.UsageError(_with_flags(str(error))) from error
    run(options)
    return None


def _fault_plan(path: str | None) -> FaultPlan | None:
    if path is None:
        return None
    from netcache_server import FaultPlan

    try:
        return FaultPlan.from_file(path)
    except ValueError as error:
        raise click.UsageError(f"--fault-plan {path}: {error}") from error


def _with_flags(message: str) -> str:
    """The server names its options like Python; here they are flags."""
    names, colon, rest = message.partition(": ")
    words = names.split(", ")
    if not colon or not all(word.replace("_", "").isalpha() and word.islower() for word in words):
        return message
    return ", ".join("--" + word.replace("_", "-") for word in words) + ": " + rest
