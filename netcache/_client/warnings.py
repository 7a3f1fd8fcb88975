"""Where a warning goes when the caller has named no other place: the ``netcache`` logger."""

from __future__ import annotations


def warn_in_log(message: str) -> None:
    """Log a warning.  (``logging`` is imported only when there is one.)"""
    try:
        import logging
    except OSError:
        # No descriptor is left to import it with.  What is warned of is no failure of the call.
        return

    logging.getLogger("netcache").warning("%s", message)
