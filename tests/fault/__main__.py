"""The long run of the tests of failing disks: ``python -m tests.fault --all``.

Fails every call of every scenario with every error, once and lastingly, and prints what is wrong.
Exits 1 if anything was.
"""

from __future__ import annotations

import argparse
import errno
import faulthandler
import sys
import tempfile
import traceback
from pathlib import Path

from tests.support.disk_driver import CODES, Trial, run_all
from tests.support.disk_scenarios import SCENARIOS

HANGS_S = 120.0
"""What takes longer than this with one scenario hangs."""


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault", description=__doc__)
    parser.add_argument("--all", action="store_true", help="every call of every scenario")
    parser.add_argument("--only", help="one scenario")
    parser.add_argument("--code", help="one error, as EIO")
    parser.add_argument("--step", type=int, default=7, help="each so many calls, without --all")
    parser.add_argument("--trace", action="store_true", help="show where it went wrong")
    options = parser.parse_args()
    faults: list[str] = []

    def on_fault(trial: Trial, error: BaseException) -> None:
        faults.append(str(trial))
        print(f"  {trial}: {type(error).__name__}: {str(error)[:300]}", flush=True)
        if options.trace:
            traceback.print_exception(error)

    for scenario in SCENARIOS:
        if options.only not in (None, scenario.name):
            continue
        for code in CODES:
            if options.code not in (None, errno.errorcode[code]):
                continue
            for lasting in (False, True):
                faulthandler.dump_traceback_later(HANGS_S, exit=True)
                with tempfile.TemporaryDirectory(prefix="netcache-disk-") as home:
                    tried = run_all(
                        scenario,
                        code,
                        Path(home),
                        lasting=lasting,
                        step=1 if options.all else options.step,
                        on_fault=on_fault,
                    )
                how = "lasting" if lasting else "once"
                print(f"{scenario.name} {errno.errorcode[code]} {how}: {tried} calls", flush=True)
    print(f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
