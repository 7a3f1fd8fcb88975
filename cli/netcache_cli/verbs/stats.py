"""`netcache stats`."""

from __future__ import annotations

import re

from netcache_cli.session import Session
from netcache_cli.verb import option, verb


@verb("stats")
@option("--prometheus", is_flag=True, help="In the text format of Prometheus.")
def command(session: Session, prometheus: bool) -> int | None:
    """Show the counters of this cache, in the groups of the netfs and fscache statistics."""
    with session.client(about_cache=True) as client:
        groups = client.cache.stats()
    if prometheus:
        for line in prometheus_lines(groups):
            session.line(line)
    elif session.settings.json:
        session.document(groups)
    else:
        for group, counters in groups.items():
            figures = " ".join(f"{name}={value}" for name, value in counters.items())
            session.line(f"{group:<8}: {figures}")
    return None


def prometheus_lines(groups: dict[str, dict[str, int]]) -> list[str]:
    """The counters in the text exposition format: HELP, TYPE and a sample each."""
    from netcache._core.stats import GAUGES, GROUPS

    lines: list[str] = []
    for group, counters in groups.items():
        for name, value in counters.items():
            is_gauge = (group, name) in GAUGES
            metric = f"netcache_{_snake(group)}_{name.lower()}" + ("" if is_gauge else "_total")
            meaning = GROUPS.get(group, {}).get(name, f"{group} {name}")
            lines.append(f"# HELP {metric} {group}.{name}: {meaning}")
            lines.append(f"# TYPE {metric} {'gauge' if is_gauge else 'counter'}")
            lines.append(f"{metric} {value}")
    return lines


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
