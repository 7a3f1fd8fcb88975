"""A small, safe HTTP object server: the files of a folder, readable and writable in ranges.

``run(ServerOptions(root=...))`` serves until it is interrupted; ``ObjectServer`` runs on a loop;
``ServerThread`` and ``ServerProcess`` are for tests and demos.  ``FaultPlan`` makes the server
misbehave on purpose.

The package imports nothing of the client, so that a shared mistake cannot cancel out.
"""

from netcache_server.faultcheck import FaultPlanError
from netcache_server.faults import FaultPlan, FaultRule, Faults
from netcache_server.hosting import ServerProcess, ServerThread
from netcache_server.options import LogRecord, OptionsError, ServerOptions
from netcache_server.runner import ObjectServer, run

__all__ = [
    "FaultPlan",
    "FaultPlanError",
    "FaultRule",
    "Faults",
    "LogRecord",
    "ObjectServer",
    "OptionsError",
    "ServerOptions",
    "ServerProcess",
    "ServerThread",
    "run",
]
