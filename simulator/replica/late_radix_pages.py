"""A radix cache where no two requests have anything in common: its tree is built at the first preemption.

Until then nothing can be found. What requests leave behind only makes room, node by node, least recently used first,
and numbers are enough to know how much of it is left.
"""

from collections.abc import Callable
from heapq import heappop, heappush

from simulator.replica.content import Content
from simulator.replica.engine import Engine
from simulator.replica.job import Job
from simulator.replica.radix_pages import RadixPages
from simulator.replica.radix_tree import RadixTree


class Branch:
    """What a tree would hold of one request: nodes one below the other, which are used together."""

    __slots__ = ("job", "stops", "used")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.used = 0  # when they were used last, in uses of all
        self.stops: list[int] = []  # the positions behind the last token of each


class LeftBranches(RadixTree):
    """The branches of requests that run no more, which all can be evicted."""

    def __init__(self, page_size: int) -> None:
        super().__init__(page_size)
        self.left: list[tuple[int, Branch]] = []  # a heap by their last use

    def leave(self, branch: Branch) -> None:
        """Keep what a request leaves behind."""
        if branch.stops:
            self.evictable += branch.stops[-1]
            heappush(self.left, (branch.used, branch))

    def evict(self, tokens: int) -> int:
        """Drop whole nodes until ``tokens`` tokens or all are gone; return how many."""
        left, gone = self.left, 0
        while left and gone < tokens:
            stops = left[0][1].stops
            gone += stops.pop()
            if stops:
                gone -= stops[-1]
            else:
                heappop(left)
        self.evictable -= gone
        return gone


class LateRadixPages(RadixPages):
    """Pages of which nothing is found as yet; ``begin_in`` puts those in their place that can be."""

    __slots__ = ("_branches", "_left", "_uses")

    def __init__(self, total_blocks: int, block_size: int, content: Callable[[Job], Content]) -> None:
        """``content`` returns what a request consists of, which is in no other."""
        super().__init__(total_blocks, block_size, content)
        self.tree = self._left = LeftBranches(block_size)
        self._branches: dict[Job, Branch] = {}  # of jobs that hold blocks
        self._uses = 0

    def begin_in(self, engine: Engine) -> None:
        """Let an engine go on with a tree of what it has computed, in the midst of a plan."""
        pages = RadixPages(self.total_blocks, self.block_size, self._content)
        pages.watch(self._running, self._partial, self._group)
        branches = [*self._branches.values(), *(branch for _, branch in self._left.left)]
        pages.free_blocks, pages.chunked, pages.computing = self.free_blocks, self.chunked, self.computing
        pages.planned, pages.ended = self.planned, self.ended
        pages.taken, pages.extending, pages.decoding_now = self.taken, self.extending, self.decoding_now
        for branch in sorted(branches, key=_used):
            node = pages.tree.root
            for stop in branch.stops:
                node, _ = pages.tree.insert(self._runs(branch.job, stop))
            if branch.job in self._branches:
                pages.nodes[branch.job] = node
                pages.tree.lock(node)
        engine.kv = engine.cache = pages

    def cached_tokens(self, job: Job) -> int:
        """Return that nothing is found of a job."""
        return 0

    def blocks_to_admit(self, job: Job, tokens: int) -> int:
        """Return how many blocks so many tokens take."""
        return self._blocks_for(tokens)

    def begin(self, job: Job) -> int:
        """Give a waiting job nothing."""
        self._branches[job] = Branch(job)
        job.blocks = job.computed = 0
        return 0

    def take(self, job: Job, blocks: int) -> None:
        """Give a job blocks; there are as many free."""
        self.free_blocks -= blocks
        job.blocks += blocks
        self.taken += blocks
        if job not in self._branches:  # it comes from elsewhere
            self._branches[job] = Branch(job)

    def release(self, job: Job) -> None:
        """Empty the job's own pages; those that a tree would have can be evicted."""
        self.free_blocks += job.blocks
        job.blocks = 0
        self._left.leave(self._branches.pop(job))

    def _store(self, job: Job, tokens: int) -> None:
        """Note that a tree would hold the whole pages of a job's first ``tokens`` tokens."""
        branch = self._branches[job]
        self._uses += 1
        branch.used = self._uses
        stop, stops = tokens - tokens % self.block_size, branch.stops
        if stop > (stops[-1] if stops else 0):
            stops.append(stop)

    def _stays_apart(self) -> bool:
        return True


def _used(branch: Branch) -> int:
    return branch.used
