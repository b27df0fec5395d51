"""Which findable blocks a request holds, or would find, by runs of them."""

from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from simulator.replica.block_runs import BlockRun, FreeBlocks, Stretch, Stretches, split
from simulator.replica.outline import Outline


class Hits(NamedTuple):
    """The longest chain of findable blocks that a waiting job begins with."""

    runs: list[tuple[BlockRun, int, int]]  # and which blocks of each, from the first to the end
    stretches: list[Stretch]  # that they belong to, and the next one if it is known
    blocks: int
    free_blocks: int  # of those


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

    def know(self, outline: Outline) -> None:
        """Know which stretches the job has, and let those who go on from it know what it holds."""
        self.outline = outline
        outline.stretches, outline.runs, outline.ends = self.stretches, self.runs, self.ends

    def last(self) -> BlockRun:
        """The run of the last findable block; there is one."""
        run, end = self.runs[-1], self.ends[-1]
        while run.end < end:
            run = _rest(run)
        return run

    def is_last(self, stretch: Stretch) -> bool:
        """Whether the last findable block is of a stretch, only this job holds it, and none was registered since."""
        run = self.runs[-1]
        return (
            run.end == self.ends[-1]
            and run.references == 1
            and run.stretch is stretch
            and stretch.runs[-1] is run
        )

    def goes_on(self) -> bool:
        """Whether a block after the last findable one would be one more of its run, as it is of the answer."""
        outline, stretches = self.outline, self.stretches
        return outline is not None and len(stretches) == len(outline.firsts) and self.is_last(stretches[-1])

    def add(self, stretch: Stretch, first: int, end: int) -> None:
        """Have blocks of a stretch that are registered just now, and were nameless before."""
        runs, ends = self.runs, self.ends
        if ends and first == ends[-1]:
            last = self.last()
            if last.stretch is stretch and last.references == 1 and stretch.runs[-1] is last:
                last.end = ends[-1] = end
                return
        run = BlockRun(stretch, first, end, 1)
        run.alone = not stretch.runs
        for other in stretch.runs:
            other.alone = False
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

    def hold_all(self, found: list[tuple[BlockRun, int, int]], free: FreeBlocks) -> None:
        """Share what a look-up has found: of each run these blocks."""
        runs, ends = self.runs, self.ends
        for run, first, end in found:
            if run.first == first and run.end == end:
                if not run.references:
                    free.take(run)
                run.references += 1
                runs.append(run)
                ends.append(end)
            else:
                self.hold(run, first, end, free)

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
            if run.end == end:  # nothing came off it
                run.references -= 1
                if run.references:
                    freed -= end - before
                else:
                    free.add(run)
                continue
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


def look_up(
    outline: Outline, known_stretches: Stretches, most: int, look_at: Callable[[Stretch], None]
) -> Hits:
    """Follow a request's stretches as far as there are blocks of them, ``most`` blocks at most.

    ``look_at`` is called where not all that is there is registered as yet.
    """
    firsts, holds, known = outline.firsts, outline.holds, outline.stretches
    runs: list[tuple[BlockRun, int, int]] = []
    block = free_blocks = 0
    # As far as the request that this one goes on from has left it: a run for each stretch, and no other
    for run, end, before, next_first in zip(outline.runs, outline.ends, known, firsts[1:], strict=False):
        if not (run.alone and run.first == block and run.end == end == next_first <= most):
            break
        if run.stretch is not before:
            break
        runs.append((run, block, end))
        if not run.references:
            free_blocks += end - block
        block = end
    place = len(runs)
    stretches = known[:place]
    stretch = stretches[-1] if stretches else None
    for nth, first in enumerate(firsts[place:], place):
        if first >= most or first > block:
            break
        if nth < len(known) and known[nth].uses >= 0:
            stretch = known[nth]
        else:
            stretch = known_stretches.find((stretch, first, holds[nth]))
            if stretch is None:
                break
        stretches.append(stretch)
        if stretch.grows_by is not None:
            look_at(stretch)
        stop = firsts[nth + 1] if nth + 1 < len(firsts) else most
        if stop > most:
            stop = most
        holding = stretch.runs
        if len(holding) == 1:
            run = holding[0]
            if run.first <= block < run.end:
                end = run.end if run.end < stop else stop
                runs.append((run, block, end))
                if not run.references:
                    free_blocks += end - block
                block = end
            continue
        for run, end in stretch.chain(block, stop):
            runs.append((run, block, end))
            if not run.references:
                free_blocks += end - block
            block = end
    return Hits(runs, stretches, block, free_blocks)


def _rest(run: BlockRun) -> BlockRun:
    assert run.rest is not None
    return run.rest
