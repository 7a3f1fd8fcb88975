"""Handing out: which files of a run the hands of a crew bring, and what becomes of them.

Rules:

1. A file is handed out when nothing has to be asked about it, its folder is there, it is small
   enough to come whole, and the server still answers.  All others are this process's.
2. Its progress is told when it is answered, all at once: until then it may come back.
3. What came back once is brought by this process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netcache._client.crew.crew import Answer, Crew
    from netcache._client.trees.folders import Job
    from netcache._client.trees.reach import Reach
    from netcache._client.trees.tally import Tally


class Handing:
    """What one run hands out to its crew."""

    def __init__(self, crew: Crew, tally: Tally, reach: Reach) -> None:
        self._crew = crew
        self._tally = tally
        self._reach = reach
        self._came_back: set[str] = set()

    def take(self, job: Job) -> bool:
        """Whether a hand does the job; it is then among the next ``answered``."""
        info = job.entry.info
        if info is None or not job.comes_whole:
            return False
        if job.folder is None or not job.folder.is_made or job.name in self._came_back:
            return False
        if self._reach.in_doubt:
            return False
        return self._crew.take(job, info, job.path)

    def end(self) -> None:
        """Let the hands go; what they have not answered comes back."""
        self._crew.dismiss()

    async def answered(self) -> tuple[int, list[Job]]:
        """Wait for answers, and count them; how many, and the jobs that are not done."""
        answers, undone = await self._crew.answers(), []
        for answer in answers:
            if answer.what is None:
                self._came_back.add(answer.job.name)
                undone.append(answer.job)
            else:
                self._count(answer)
        return len(answers), undone

    def _count(self, answer: Answer) -> None:
        from netcache._client.crew.messages import Failed

        job, what = answer
        assert what is not None
        item = self._tally.start(job.name, job.entry.size)
        if what.told_bytes:
            item(what.told_bytes)
        if isinstance(what, Failed):
            item.end(good=False)
            self._tally.failed(job.name, what.error, told=True)
            return
        self._tally.copied(what.size, what.fetched_bytes)
        item.end(good=True)
