"""All that is done with a client while its cache's disk fails; each knows the right outcome."""

from __future__ import annotations

from tests.support import disk_async, disk_edits, disk_reading, disk_transfers, disk_upkeep

SCENARIOS = [
    *disk_reading.SCENARIOS,
    *disk_transfers.SCENARIOS,
    *disk_edits.SCENARIOS,
    *disk_async.SCENARIOS,
    *disk_upkeep.SCENARIOS,
]
