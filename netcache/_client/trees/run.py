"""A tree run: copy what differs, then delete what is too much, then what had to wait for that.

Rules:

1. Nothing is deleted before every copy has been tried, and nothing at all when one was not, when a
   part of the source could not be listed, or when more names than ``max_delete`` would go.
2. A name that stands in the source, whatever it stands for, or that takes no part, is not deleted;
   neither is a folder that holds such a name.
3. A file where a folder must be, or the other way round, is an error of that item; with ``delete``
   it is removed with the rest, and its successor is copied after that.
4. The error of an item is reported, and the others go on, unless the server has stopped to answer
   (``reach``).  What fails at the root is raised.
5. A name that the listing of the destination does not show may be there all the same: indexes hide
   names.  An upload that finds something there lists once more: what is shown now came meanwhile
   and is somebody else's; what is not is compared, and replaced on the condition of what was seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache._client.options import small_files_at_once
from netcache._client.trees.compare import Rule, Verdict
from netcache._client.trees.deletion import Deletion
from netcache._client.trees.directions import Direction
from netcache._client.trees.entries import Entry, Listing, joined, name_of_kind
from netcache._client.trees.filters import Part, Selection
from netcache._client.trees.folders import Folder, Job
from netcache._client.trees.options import TreeOptions
from netcache._client.trees.plan import (
    Clash,
    FileStep,
    FolderPlan,
    FolderStep,
    plan_folder,
    verdict_of,
)
from netcache._client.trees.tally import Tally
from netcache._client.trees.walk import Walk
from netcache.errors import ConflictError

if TYPE_CHECKING:
    from netcache._client.crew.crew import Crew
    from netcache._client.trees.ports import OnBytes
    from netcache._client.trees.reach import Reach


class TreeRun:
    """One run of one tree.  On the event loop only."""

    def __init__(
        self,
        direction: Direction,
        options: TreeOptions,
        selection: Selection,
        rule: Rule,
        tally: Tally,
        reach: Reach,
        transfers: int,
        crew: Crew | None = None,
    ) -> None:
        self._direction = direction
        self._options = options
        self._selection = selection
        self._rule = rule
        self._tally = tally
        self._reach = reach
        self._transfers = transfers
        handing = None
        if crew is not None:
            from netcache._client.trees.handing import Handing

            handing = Handing(crew, tally, reach)
        small = 0 if direction.is_upload else small_files_at_once(transfers)
        self._walk = Walk(self._scan, self.do, transfers, handing, small_at_once=small)
        if not direction.is_upload:
            reach.on_lost = self._walk.give_up_small
        self._deletion = Deletion(direction.remove, direction.batches, tally, reach, transfers)
        self._clashes: list[tuple[Folder, Clash]] = []

    async def run(self, root: Folder) -> None:
        """Make the destination's ``root`` like the source's."""
        await self._walk.run([root])
        if self._options.delete and (self._deletion.names() or self._clashes):
            await self._delete()

    # Scanning.

    async def _scan(self, folder: Folder) -> None:
        if self._reach.in_doubt and await self._reach.refuses(folder.name):
            self._deletion.source_is_incomplete = True
            return
        try:
            if folder.is_doomed:
                await self._scan_doomed(folder)
            else:
                await self._scan_pair(folder)
        except OSError as error:
            if folder.parent is None:
                raise
            self._tally.failed(folder.name, error)

    async def _scan_pair(self, folder: Folder) -> None:
        """List both sides of a folder, plan, and set the steps going."""
        try:
            source = await self._direction.list_source(folder)
        except OSError:
            self._deletion.source_is_incomplete = True
            raise
        folder.identity = source.identity
        folder.check_depth()
        if not source.complete:
            self._deletion.source_is_incomplete = True
        dest = await self._list_dest(folder)
        plan = plan_folder(
            source,
            dest,
            lambda entry: self._part(folder, entry),
            self._rule,
            delete=self._options.delete,
        )
        if folder.part is Part.FULL or folder.parent is None:
            await self._ensure(folder)
        await self._carry_out(folder, plan)
        self._tally.tell_plan()

    async def _list_dest(self, folder: Folder) -> Listing | None:
        if folder.dest == "absent":
            return None
        listing = await self._direction.list_dest(folder)
        if listing is None:
            folder.dest = "unknown"
            if self._options.delete:
                why = "the server gives no listing of it, so nothing in it can be deleted"
                self._tally.refused(folder.name or ".", why)
        return listing

    def _part(self, folder: Folder, entry: Entry) -> Part:
        name = joined(folder.name, entry.name)
        return self._selection.part(name, is_folder=entry.kind == "folder", inside=folder.part)

    async def _carry_out(self, folder: Folder, plan: FolderPlan) -> None:
        for name in plan.passed:
            self._tally.report.skipped.append(joined(folder.name, name))
        for entry in plan.broken:
            assert entry.error is not None
            self._tally.failed(joined(folder.name, entry.name), entry.error)
        for clash in plan.clashes:
            self._clash(folder, clash)
        for entry, part in plan.doomed:
            self._doom(folder, entry, part)
        for folder_step in plan.folders:
            self._go_into(folder, folder_step)
        for file_step in plan.files:
            if file_step.verdict is Verdict.SAME:
                name = joined(folder.name, file_step.entry.name)
                self._tally.unchanged(name, file_step.entry.size)
            elif (job := self._job(folder, file_step)) is not None:
                await self._walk.hand_on(job)

    def _go_into(self, folder: Folder, step: FolderStep) -> None:
        try:
            self._walk.go_into(self._direction.enter(folder, step))
        except OSError as error:
            self._tally.failed(joined(folder.name, step.entry.name), error)

    def _job(self, folder: Folder, step: FileStep) -> Job | None:
        try:
            job = self._direction.job(folder, step)
        except OSError as error:
            self._tally.failed(joined(folder.name, step.entry.name), error)
            return None
        if _is_certain(job):
            self._tally.plan(step.entry.size)
        return job

    # Names that are too much.

    def _clash(self, folder: Folder, clash: Clash) -> None:
        here = "folder" if clash.entry.kind == "folder" else "file"
        why = f"a {name_of_kind(clash.there.kind)} stands where a {here} must be"
        if not self._options.delete:
            why += " (remove it, or let sync delete)"
        elif self._part(folder, clash.there) is not Part.FULL:
            why += ", and it is excluded from deletion"
        else:
            self._clashes.append((folder, clash))
            self._doom(folder, clash.there, Part.FULL)
            return
        self._tally.refused(joined(folder.name, clash.entry.name), why)

    def _doom(self, folder: Folder, entry: Entry, part: Part) -> None:
        """Mark an entry of the destination, and all that lies in it, for deletion."""
        if part is Part.FULL:
            self._deletion.add(self._direction.removal(folder, entry))
        if entry.kind == "folder" and not entry.is_link:
            self._walk.go_into(self._direction.enter_doomed(folder, entry, part))

    async def _scan_doomed(self, folder: Folder) -> None:
        try:
            folder.check_depth()
            listing = await self._direction.list_dest(folder)
        except OSError:
            self._deletion.keep(folder.name)
            raise
        if listing is None:
            self._deletion.keep(folder.name)
            self._tally.refused(folder.name, "the server gives no listing of it")
            return
        for entry in listing.entries:
            part = self._part(folder, entry)
            if part is Part.NONE:
                self._deletion.keep(folder.name)
            else:
                self._doom(folder, entry, part)

    async def _delete(self) -> None:
        """Delete, unless something forbids it; then copy what had to wait for that."""
        why_not = self._deletion.why_not(self._options.max_delete)
        if why_not is not None:
            self._tally.refused(".", *why_not)
            for folder, clash in self._clashes:
                name = joined(folder.name, clash.entry.name)
                self._tally.refused(name, "what stands in its place was not deleted")
            return
        await self._deletion.run(dry_run=self._options.dry_run)
        folders: list[Folder] = []
        jobs: list[Job] = []
        for folder, clash in self._clashes:
            name = joined(folder.name, clash.entry.name)
            if self._deletion.is_kept(name):
                self._tally.refused(name, "what stands in its place could not be deleted")
            elif clash.entry.kind == "folder":
                step = FolderStep(clash.entry, None, clash.part)
                folders.append(self._direction.enter(folder, step))
            else:
                job = self._job(folder, FileStep(clash.entry, None, Verdict.DIFFERENT))
                jobs += [job] if job is not None else []
        self._tally.tell_plan()
        await self._walk.run(folders, jobs)

    # Copying.

    async def do(self, job: Job) -> None:
        """Copy a file if it differs."""
        if self._reach.in_doubt and await self._reach.refuses(job.name):
            return
        try:
            job, verdict = await self._decide(job)
        except OSError as error:
            self._tally.failed(job.name, error)
            return
        if verdict is Verdict.SAME:
            self._tally.unchanged(job.name, job.entry.size)
        elif self._options.dry_run:
            size = job.entry.size or 0
            self._tally.copied(size, 0, size if self._direction.is_upload else None)
            self._tally.start(job.name, job.entry.size).end(good=True)
        else:
            await self._copy(job)

    async def _decide(self, job: Job) -> tuple[Job, Verdict]:
        """Ask what the listings did not tell."""
        verdict = job.verdict
        was_certain = _is_certain(job)
        unsized = self._options.dry_run and job.entry.size is None
        if verdict is Verdict.ASK_SERVER or not job.is_known or unsized:
            job, verdict = await self._ask(job)
        elif verdict is Verdict.ASK_DIGESTS:
            verdict = await self._by_digests(job)
        if verdict is Verdict.DIFFERENT and not was_certain:
            self._tally.plan(job.entry.size)
            self._tally.tell_plan()
        return job, verdict

    async def _ask(self, job: Job) -> tuple[Job, Verdict]:
        """Judge by what the server says of the remote file."""
        job = await self._direction.exact(job)
        verdict = verdict_of(job.entry, job.there, self._rule, is_exact=True)
        return job, await self._by_digests(job) if verdict is Verdict.ASK_DIGESTS else verdict

    async def _by_digests(self, job: Job) -> Verdict:
        same = await self._direction.same_digests(job)
        return Verdict.SAME if same else Verdict.DIFFERENT

    async def _copy(self, job: Job) -> None:
        try:
            if job.folder is not None:
                await self._ensure(job.folder)
        except OSError as error:
            self._tally.failed(job.name, error)
            return
        item = self._tally.start(job.name, job.entry.size)
        try:
            moved = await self._moved(job, item)
        except OSError as error:
            item.end(good=False)
            self._tally.failed(job.name, error, told=True)
            return
        if moved is None:
            self._tally.report.unchanged += 1
            self._tally.silent_count = 0
        else:
            self._tally.copied(*moved)
        item.end(good=True)

    async def _moved(self, job: Job, on_bytes: OnBytes) -> tuple[int, int, int | None] | None:
        """Copy a file; None when the same one was there unseen."""
        try:
            return await self._direction.copy(job, on_bytes)
        except ConflictError:
            if job.there is not None or job.folder is None or job.folder.dest == "unknown":
                # It has been looked at, and somebody was faster.
                raise
            if job.folder.dest == "there" and await self._is_listed(job.folder, job):
                raise
        job, verdict = await self._ask(job)
        return None if verdict is Verdict.SAME else await self._direction.copy(job, on_bytes)

    async def _is_listed(self, folder: Folder, job: Job) -> bool:
        """Whether the destination's listing shows the file by now: it did not before."""
        listing = await self._direction.list_dest(folder)
        if listing is None:
            return True
        return job.name.rpartition("/")[2] in (entry.name for entry in listing.entries)

    async def _ensure(self, folder: Folder) -> None:
        """Make a folder of the destination, and those above it, once."""
        if folder.is_made or self._options.dry_run:
            return
        if folder.parent is not None:
            await self._ensure(folder.parent)
        async with folder.making:
            if folder.failure is not None:
                raise folder.failure
            if folder.is_made:
                return
            try:
                await self._direction.make_folder(folder)
            except OSError as error:
                folder.failure = error
                raise
            folder.is_made = True


def _is_certain(job: Job) -> bool:
    """Whether the listings alone tell that the file must be copied."""
    return job.verdict is Verdict.DIFFERENT and job.is_known
