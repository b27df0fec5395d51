"""Which findable blocks a request holds, by runs of them."""

from bisect import bisect_right

from simulator.replica.block_runs import BlockRun, FreeBlocks, Stretch, split
from simulator.replica.content import StreamPieces

# As ``Content.stretches`` returns it.
Outline = tuple[list[int], list[int | StreamPieces]]


class HeldBlocks:
    """The findable blocks that a job holds; of the others the number is enough."""

    __slots__ = ("ends", "outline", "runs", "stretches")

    def __init__(self, outline: Outline | None, stretches: list[Stretch]) -> None:
        self.outline = outline  # of the job, as soon as it is needed
        self.stretches = stretches  # of the job, as far as they are known
        self.runs: list[BlockRun] = []  # in order
        self.ends: list[
            int
        ] = []  # up to which block each is held, what came off it (``BlockRun.rest``) included

    def last(self) -> BlockRun:
        """The run of the last findable block; there is one."""
        run, end = self.runs[-1], self.ends[-1]
        while run.end < end:
            run = _rest(run)
        return run

    def add(self, stretch: Stretch, first: int, end: int) -> None:
        """Have blocks of a stretch that are registered just now, and were nameless before."""
        runs, ends = self.runs, self.ends
        if ends and first == ends[-1]:
            last = self.last()
            if last.stretch is stretch and last.references == 1 and stretch.runs[-1] is last:
                last.end = ends[-1] = end
                return
        run = BlockRun(stretch, first, end, 1)
        stretch.runs.append(run)
        place = bisect_right(ends, first)
        runs.insert(place, run)
        ends.insert(place, end)

    def missing(self, first: int, end: int) -> list[tuple[int, int]]:
        """Which of the blocks from ``first`` to ``end`` cannot be found, as (first, end)."""
        found = []
        for run, run_end in zip(self.runs, self.ends, strict=True):
            if first < run.first:
                found.append((first, min(run.first, end)))
            first = max(first, run_end)
            if first >= end:
                return found
        return [*found, (first, end)]

    def hold(self, run: BlockRun, first: int, end: int, free: FreeBlocks) -> None:
        """Share blocks ``first`` to ``end`` of a run, or of what came off its end meanwhile, after all others."""
        while run.end <= first:
            run = _rest(run)
        if run.first < first:
            run = split(run, first)
        if run.end > end:
            split(run, end)
        if not run.references:
            free.take(run)
        run.references += 1
        self.runs.append(run)
        self.ends.append(end)

    def release(self, blocks: int, free: FreeBlocks) -> int:
        """Free all ``blocks`` that the job has, the last one first; return how many are not held by others."""
        freed = before = blocks
        for run, end in zip(reversed(self.runs), reversed(self.ends), strict=True):
            if end < before:
                free.add_nameless(before - end)
            before = run.first
            parts = [run]
            while parts[-1].end < end:
                parts.append(_rest(parts[-1]))
            for part in reversed(parts):
                part.references -= 1
                if part.references:
                    freed -= part.end - part.first
                else:
                    free.add(part)
        if before:
            free.add_nameless(before)
        return freed


def _rest(run: BlockRun) -> BlockRun:
    assert run.rest is not None
    return run.rest
