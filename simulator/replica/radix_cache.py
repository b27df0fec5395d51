"""Prefix caching with SGLang's semantics: the KV pages of equal beginnings are shared through a radix tree.

What a request has computed enters the tree chunk by chunk: a chunk of a prompt before the next one is
planned, the prompt when its last step ends, the output when the request is complete. Pages in the tree
stay findable until their room is needed, then whole leaves go, least recently used first.

``free_blocks`` counts what can be taken right now: empty pages, and pages in the tree that no running
request holds. The latter are evicted when a step's plan is final; until then requests that come later in
the same plan can still find them, as in the engine, which allocates for a whole batch at once.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from simulator.replica.limits import Limits
from simulator.replica.prefix_cache import Content, SharingBooks
from simulator.replica.radix_tree import Node, RadixTree, Runs
from simulator.replica.request import Job

LIKE_EARLIER_TOKENS = 32  # sharing as many with an earlier waiting request, and not more with the cache: wait
ROOM_AFTER_PREEMPTION = 20  # tokens that are evicted for each request that goes on decoding


class RadixBooks(SharingBooks):
    """Books that keep computed pages in a radix tree; a block is a page."""

    __slots__ = (
        "_chunked", "_computing", "_nodes", "_taken", "_tree",
    )  # fmt: skip

    def __init__(
        self,
        limits: Limits,
        *,
        null_blocks: int = 0,
        queue_key: Callable[[Job], Any] | None = None,
        content: Callable[[int], Content],
    ) -> None:
        """``content`` returns what a request consists of."""
        super().__init__(limits, null_blocks=null_blocks, queue_key=queue_key, content=content)
        self._tree = RadixTree(limits.block_size)
        self._nodes: dict[Job, Node] = {}  # of running jobs: the end of what the tree holds of them, locked
        self._chunked: list[Job] = []  # had a chunk of their prompt, not the last, in the step planned last
        self._computing: list[
            list[tuple[Job, int, int]]
        ] = []  # a step: whose prompts end, preemptions, tokens
        self._taken = 0  # blocks taken by the plan so far

    # What the policy sees

    def cached_tokens(self, job: Job) -> int:
        """Known tokens of a waiting job that the tree holds, all but the last at most; counts as a use."""
        return self._match(job).stop

    def blocks_to_admit(self, job: Job, tokens: int) -> int:
        """Free blocks that the job's first ``tokens`` tokens take, those it finds in the tree included."""
        held_by_others = self._tree.locked(self._match(job))
        return self.blocks_for(tokens) - held_by_others // self.block_size

    def prefix_ranks(self, rule: Literal["lpm", "dfs-weight"]) -> dict[Job, float]:
        """As the base class describes it."""
        return self._longest_prefix_first() if rule == "lpm" else self._depth_first()

    def admit(self, job: Job, tokens: int, reserve_tokens: int = 0) -> bool:
        """As the base class, after taking what is found; ``tokens`` do not count that."""
        if job in self._nodes:
            return super().admit(job, tokens, reserve_tokens)  # which says what is wrong
        node = self._match(job)
        cached = node.stop
        if not 0 < tokens <= job.known_tokens - cached:
            raise ValueError(f"cannot schedule {tokens} tokens of {job}, of which {cached} are cached")
        blocks = self.blocks_for(max(cached + tokens, reserve_tokens))
        blocks -= self._tree.locked(node) // self.block_size  # what others hold costs nothing
        if self.seats <= 0 or tokens > self.token_budget or blocks > self.free_blocks:
            return False
        self._nodes[job] = node
        self._lock(node)
        job.blocks, job._computed = cached // self.block_size, cached
        self.records.hit_tokens += cached
        self.records.looked_up_tokens += job.known_tokens
        return super().admit(job, tokens, reserve_tokens)

    def decode_all(self) -> bool:
        """As the base class; where blocks are missing, all that is evictable goes."""
        before = self.free_blocks
        if super().decode_all():
            self._taken += before - self.free_blocks
            return True
        self._make_room(self.blocks_opening)
        return False

    def preempt(self, job: Job, at_head: bool = True) -> None:
        """As the base class; what the tree holds of the job stays there, unlocked, unless room is short."""
        super().preempt(job, at_head)
        self._make_room(self.blocks_for(ROOM_AFTER_PREEMPTION * self.group.size))

    # What the replica does

    def open(self, now_s: float) -> None:
        """As the base class, after storing the chunks of the step planned before."""
        if self._chunked:
            for job in self._chunked:
                if job in self.partial:
                    self._store(job, job._computed)
            self._chunked.clear()
        super().open(now_s)

    def advance(self) -> Sequence[Job]:
        """As the base class; make the plan's blocks empty, and note whose prompts the step computes."""
        if self._taken:
            if self._tree.evictable > self.free_blocks * self.block_size:
                self._tree.evict(self._taken * self.block_size)
            self._taken = 0
        scheduled = list(self._chunks)
        completing = super().advance()
        self._chunked = [job for job in scheduled if job in self.partial]
        ending = (job for job in scheduled if job not in self.partial)
        self._computing.append([(job, job.preemptions, job.computed_tokens) for job in ending])
        return completing

    def retire(self, completing: Sequence[Job], end_s: float) -> None:
        """As the base class, after storing the prompts that the step computed and what is complete."""
        for job, preemptions, tokens in self._computing.pop(0):
            if job in self.running and job.preemptions == preemptions:
                self._store(job, tokens)
        for job in completing:
            if job in self.running:
                self._store(job, job._computed)
        super().retire(completing, end_s)

    def steady(self, completing: Sequence[Job]) -> bool:
        """Never: a step may have to evict."""
        return False

    # Blocks

    def _seat(self, job: Job) -> None:
        """As the base class; what came is stored in the tree."""
        super()._seat(job)
        self._store(job, job._computed)

    def _take(self, job: Job, blocks: int) -> None:
        super()._take(job, blocks)
        self._taken += blocks
        if job not in self._nodes:  # it comes from elsewhere
            self._nodes[job] = self._tree.root
            self._lock(self._tree.root)

    def _release(self, job: Job) -> None:
        """Empty the job's own pages; those in the tree become evictable, unless others hold them too."""
        node = self._nodes.pop(job)
        self.free_blocks += job.blocks - node.stop // self.block_size
        job.blocks = 0
        self._unlock(node)

    def _store(self, job: Job, tokens: int) -> None:
        """Hand the whole pages of a job's first ``tokens`` tokens to the tree; where it has them, drop ours."""
        held = self._nodes[job]
        node, _ = self._tree.insert(self._runs(job, tokens))
        if node is not held:
            self.free_blocks += (node.stop - held.stop) // self.block_size
            self._lock(node)
            self._unlock(held)
            self._nodes[job] = node

    def _lock(self, node: Node) -> None:
        self.free_blocks -= self._tree.lock(node) // self.block_size

    def _unlock(self, node: Node) -> None:
        self.free_blocks += self._tree.unlock(node) // self.block_size

    def _make_room(self, blocks: int) -> None:
        """Evict as many blocks as asked for, if fewer are empty."""
        if self.free_blocks * self.block_size - self._tree.evictable < blocks * self.block_size:
            self._tree.evict(blocks * self.block_size)

    # What sequences begin alike

    def _runs(self, job: Job, tokens: int) -> Runs:
        """The job's first ``tokens`` tokens."""
        runs, end = [], 0
        for stream, length in self._content_of(job).pieces(0, tokens) if tokens else ():
            end += length
            runs.append((stream, end))
        return tuple(runs)

    def _match(self, job: Job) -> Node:
        return self._tree.match(self._runs(job, job.known_tokens - 1))

    def _longest_prefix_first(self) -> dict[Job, float]:
        """By cached tokens; of those that begin alike and find little, all but one wait for it to be cached."""
        ranks: dict[Job, float] = {}
        earlier = RadixTree()
        for job in self.waiting:
            runs = self._runs(job, job.known_tokens - 1)
            cached = self._tree.match(runs).stop
            ranks[job] = -cached
            if cached <= LIKE_EARLIER_TOKENS:
                if earlier.match(runs).stop >= LIKE_EARLIER_TOKENS:
                    ranks[job] = float("inf")
                else:
                    earlier.insert(runs)
        return ranks

    def _depth_first(self) -> dict[Job, float]:
        """In the order of a walk that takes the branch with the most waiting jobs first, children first."""
        ends: dict[Node, list[Job]] = {}
        for job in self.waiting:
            ends.setdefault(self._match(job), []).append(job)
        weights: dict[Node, int] = {}
        for end, jobs in ends.items():
            node: Node | None = end
            while node is not None:
                weights[node] = weights.get(node, 0) + len(jobs)
                node = node.parent
        ranks: dict[Job, float] = {}
        stack = [(self._tree.root, False)]
        while stack:
            node, children_done = stack.pop()
            if children_done:
                for job in ends.get(node, ()):
                    ranks[job] = len(ranks)
                continue
            stack.append((node, True))
            children = [child for child in node.children.values() if child in weights]
            children.sort(key=weights.__getitem__, reverse=True)
            stack.extend((child, False) for child in reversed(children))
        return ranks
