"""Where the journal is: every client looks whether it is empty, so nothing else is imported."""

from __future__ import annotations

import os

UPLOADS = "uploads"


def journal_folder(state_dir: str) -> str:
    """The folder of the entries under a state directory."""
    return os.path.join(state_dir, UPLOADS)


def entry_names(folder: str) -> list[str]:
    """All entries there are, of any process; cheap when there are none."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
