"""What is to be done with one folder, from its listings on both sides.  Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from netcache._client.trees.compare import Rule, Verdict, judge
from netcache._client.trees.entries import Entry, Listing
from netcache._client.trees.filters import Part


class FileStep(NamedTuple):
    """A file to copy, or to look at more closely.  ``there``: what it replaces."""

    entry: Entry
    there: Entry | None
    verdict: Verdict


class FolderStep(NamedTuple):
    """A folder to go into.  ``exists``: whether it is a folder on the other side too."""

    entry: Entry
    there: Entry | None
    part: Part

    @property
    def exists(self) -> bool:
        """Whether there is a folder to be compared with."""
        return self.there is not None and self.there.kind == "folder"


class Clash(NamedTuple):
    """A file where a folder must be, or the other way round; or what is special where either is."""

    entry: Entry
    there: Entry
    part: Part


class FolderPlan:
    """The steps for one folder.

    ``passed`` names links and special files; ``broken`` are entries that cannot be copied;
    ``doomed`` are entries of the other side only, with their parts, where deletion is wished.
    """

    def __init__(self) -> None:
        self.files: list[FileStep] = []
        self.folders: list[FolderStep] = []
        self.clashes: list[Clash] = []
        self.doomed: list[tuple[Entry, Part]] = []
        self.passed: list[str] = []
        self.broken: list[Entry] = []


PartOf = Callable[[Entry], Part]


def plan_folder(
    source: Listing, dest: Listing | None, part_of: PartOf, rule: Rule, *, delete: bool
) -> FolderPlan:
    """Decide on every name of a folder.

    ``dest`` None: there is nothing on the other side.  A name that stands in the source is never
    doomed, whatever it stands for.
    """
    plan = FolderPlan()
    there = {entry.name: entry for entry in dest.entries} if dest is not None else {}
    seen: set[str] = set()
    for entry in source.entries:
        part = part_of(entry)
        if part is not Part.NONE:
            if entry.name in seen:
                entry = entry._replace(
                    kind="broken", error=FileExistsError("it stands twice in the listing")
                )
            _plan_entry(plan, entry, there.get(entry.name), part, rule)
        seen.add(entry.name)
    if delete:
        for entry in there.values():
            if entry.name not in seen:
                part = part_of(entry)
                if part is not Part.NONE:
                    plan.doomed.append((entry, part))
    return plan


def _plan_entry(
    plan: FolderPlan, entry: Entry, there: Entry | None, part: Part, rule: Rule
) -> None:
    if entry.kind == "broken":
        plan.broken.append(entry)
    elif entry.kind == "folder":
        if there is None or there.kind == "folder" or _gives_way(there):
            plan.folders.append(FolderStep(entry, there, part))
        else:
            plan.clashes.append(Clash(entry, there, part))
    elif entry.kind == "file":
        if there is not None and there.kind in ("folder", "special"):
            plan.clashes.append(Clash(entry, there, part))
        else:
            plan.files.append(FileStep(entry, there, verdict_of(entry, there, rule)))
    else:
        plan.passed.append(entry.name)


def verdict_of(entry: Entry, there: Entry | None, rule: Rule, *, is_exact: bool = False) -> Verdict:
    """Whether the file ``entry`` of the source is what is there on the other side."""
    if there is None:
        return Verdict.DIFFERENT
    local, remote = (entry, there) if rule.upload else (there, entry)
    return judge(local, remote, rule, is_exact=is_exact)


def _gives_way(there: Entry) -> bool:
    """A link in the destination is replaced, never walked through."""
    return there.kind == "link" or (there.kind == "broken" and there.is_link)
