"""Which of a request's neighbouring KV blocks hold the same, worked out anew only where a request is anew."""

from collections.abc import Callable

from simulator.replica.block_runs import BlockRun, Stretch
from simulator.replica.content import Content, StreamPieces
from simulator.replica.job import Job

MOST_KEPT = 512  # outlines, of the requests that were looked up last


class Outline:
    """A request's sequence cut into stretches of neighbouring blocks that hold the same; the last one has no end.

    ``firsts`` are the first block of each, ``holds`` what its blocks hold: one stream; or the pieces of the first one,
    in which streams meet, and after it the last of these streams. Two sequences have the same first n blocks if the
    stretches that begin in them are equal.
    """

    __slots__ = ("content", "cut", "ends", "firsts", "holds", "runs", "stretches")

    def __init__(self, content: Content, block_size: int, before: "Outline | None" = None) -> None:
        """``before`` is that of a request whose prompt and answer this prompt repeats (``Content.go_on_from``)."""
        # What a request that goes on from it takes over: the next block, where the next stream begins, how many streams
        # are cut, into how many stretches
        self.cut: tuple[int, int, int, int]
        self.content = content
        self.firsts: list[int] = []
        self.holds: list[int | StreamPieces] = []
        # What a request held of it, or one that it goes on from, as far as that was: all may have changed since
        self.stretches: list[Stretch] = []
        self.runs: list[BlockRun] = []
        self.ends: list[int] = []
        block = start = done = 0
        if before is not None:
            block, start, done, kept = before.cut
            self.firsts, self.holds = before.firsts[:kept], before.holds[:kept]
        firsts, holds, content = self.firsts, self.holds, content.read()
        streams, ends = content.streams, content.ends
        for place in range(done, len(ends)):
            stream, end = streams[place], ends[place]
            if block * block_size < start and (block + 1) * block_size <= end:
                firsts.append(block)
                holds.append(content.pieces(block * block_size, (block + 1) * block_size))
                block = end // block_size
            elif end // block_size > block:
                firsts.append(block)
                holds.append(stream)
                block = end // block_size
            start = end
        self.cut = block, start, len(ends), len(firsts)
        firsts.append(block)
        meet = block * block_size < start
        holds.append(content.pieces(block * block_size, (block + 1) * block_size) if meet else streams[-1])
        if before is not None:
            alike = before.cut[3]
            most = min(len(firsts), len(before.firsts))
            while (
                alike < most and firsts[alike] == before.firsts[alike] and holds[alike] == before.holds[alike]
            ):
                alike += 1
            self.stretches, self.runs, self.ends = before.stretches[:alike], before.runs, before.ends


class Outlines:
    """The outlines of an engine's requests; those of the last ones are kept, as prompts may go on from them."""

    __slots__ = ("_block_size", "_content", "_kept", "_last")

    def __init__(self, content: Callable[[Job], Content], block_size: int) -> None:
        """``content`` returns what a request consists of."""
        self._content, self._block_size = content, block_size
        self._kept: dict[int, Outline] = {}  # by the stream of the answer
        self._last: tuple[Job, Outline] | None = None

    def of(self, job: Job) -> Outline:
        """Return that of a request."""
        last = self._last
        if last is not None and last[0] is job:
            return last[1]
        content, kept = self._content(job), self._kept
        outline = kept.get(content.output_stream)
        if outline is None or outline.content.segments != content.segments:
            segments = content.segments
            before = kept.get(segments[-2][0]) if len(segments) > 1 else None
            if before is not None and not content.go_on_from(before.content):
                before = None
            outline = Outline(content, self._block_size, before)
            if len(kept) >= MOST_KEPT:
                del kept[next(iter(kept))]
            kept[content.output_stream] = outline
        self._last = job, outline
        return outline
