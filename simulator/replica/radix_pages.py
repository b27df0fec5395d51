"""Prefix caching with SGLang's semantics: the KV pages of equal beginnings are shared through a radix tree.

What a request has computed enters the tree chunk by chunk: a chunk of a prompt before the next one is
planned, the prompt when its last step ends, the output when the request is complete. Pages in the tree
stay findable until their room is needed, then whole leaves go, least recently used first.

``free_blocks`` counts what can be taken right now: empty pages, and pages in the tree that no running
request holds. The latter are evicted when a step's plan is final; until then requests that come later in
the same plan can still find them, as in the engine, which allocates for a whole batch at once.
"""

from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

from simulator.replica.content import Content, StreamPieces
from simulator.replica.decode_group import DecodeGroup
from simulator.replica.job import Job
from simulator.replica.kv import PrefixRule
from simulator.replica.radix_tree import Node, RadixTree, Runs

LIKE_EARLIER_TOKENS = 32  # sharing as many with an earlier waiting request, and not more with the cache: wait
ROOM_AFTER_PREEMPTION = 20  # tokens that are evicted for each request that goes on decoding


class RadixPages:
    """Computed pages in a radix tree; a block is a page (a ``PrefixCache``)."""

    __slots__ = (
        "_asked", "_chunked", "_computing", "_content", "_contents", "_decoding", "_extending", "_found", "_group",
        "_nodes", "_partial", "_running", "_taken", "block_size", "free_blocks", "total_blocks", "tree",
    )  # fmt: skip

    group_type: ClassVar[type[DecodeGroup]] = DecodeGroup

    def __init__(self, total_blocks: int, block_size: int, content: Callable[[Job], Content]) -> None:
        """``content`` returns what a request consists of."""
        self.total_blocks = self.free_blocks = total_blocks
        self.block_size = block_size
        self.tree = RadixTree(block_size)
        self._content = content
        self._contents: dict[Job, Content] = {}
        self._nodes: dict[Job, Node] = {}  # of running jobs: the end of what the tree holds of them, locked
        self._chunked: list[Job] = []  # had a chunk of their prompt, not the last, in the step planned last
        # Of each step in flight: jobs whose prompts end, their preemptions and tokens
        self._computing: list[list[tuple[Job, int, int]]] = []
        self._found = self.tree.root
        self._asked: tuple[Job, int, int] | None = (
            None  # what was looked up last, after how many uses of the tree
        )
        self._taken = 0  # blocks taken by the plan so far
        self._extending = 0  # tokens that its prompts ask for
        self._decoding = (0, 0)  # blocks that its decodes ask for: those they need, and one for each

    @property
    def can_fast_forward(self) -> bool:
        """While no prompt is being computed, whose pages would be stored when a step ends."""
        return not self._chunked and not any(self._computing)

    def watch(self, running: Collection[Job], partial: Collection[Job], group: DecodeGroup) -> None:
        """Look at the running jobs, at those of them with tokens to compute, and at those that decode."""
        self._running, self._partial, self._group = running, partial, group

    def tell_evicted(self, told: Callable[[StreamPieces, int, int], None]) -> None:
        """Call ``told`` with what a sequence consists of, when tokens from one to another are found no more."""
        self.tree.told = told

    # What is found

    def cached_tokens(self, job: Job) -> int:
        """Return how many known tokens of a waiting job the tree holds, all but the last at most; counts as a use."""
        return self._match(job).stop

    def blocks_to_admit(self, job: Job, tokens: int) -> int:
        """Return how many free blocks the job's first ``tokens`` take, those it finds in the tree included."""
        held_by_others = self.tree.locked(self._match(job))
        return self._blocks_for(tokens) - held_by_others // self.block_size

    def prefix_ranks(self, rule: PrefixRule, waiting: Sequence[Job]) -> dict[Job, float]:
        """Return where waiting jobs stand by what the tree holds of them, SGLang's two ways; smallest first."""
        return self._longest_prefix_first(waiting) if rule == "lpm" else self._depth_first(waiting)

    def begin(self, job: Job) -> int:
        """Give a waiting job what the tree holds of it; return how many tokens that is."""
        node = self._match(job)
        self._nodes[job] = node
        self._lock(node)
        job.blocks, job.computed = node.stop // self.block_size, node.stop
        return node.stop

    # The moments of a step

    def step_opened(self) -> None:
        """Store the chunks of the step planned before."""
        if self._chunked:
            for job in self._chunked:
                if job in self._partial:
                    self._store(job, job.computed)
            self._chunked.clear()

    def chunk(self, job: Job, first_token: int, tokens: int) -> None:
        """Note what it asks for: with pages of many tokens one more than it needs. It is stored when it is computed."""
        self._extending += tokens if self.block_size == 1 else tokens + self.block_size

    def decoding(self, blocks: int, seqs: int) -> None:
        """Note what the decoding jobs take."""
        self._taken += blocks
        self._decoding = blocks, seqs

    def drafting(self, blocks: int, seqs: int, too_many: int) -> None:
        """Note what they take, which is counted already but for what is too many."""
        self._taken += too_many
        self._decoding = blocks, seqs

    def grew(self, job: Job, tokens: int) -> None:
        """They are stored when the job is complete."""

    def decode_refused(self, blocks: int) -> None:
        """Where blocks are missing, all that is evictable goes."""
        self._make_room(blocks * self.block_size)

    def preempted(self) -> None:
        """What the tree holds of the job stays there, unlocked, unless room is short."""
        going_on = len(self._running) - len(self._partial)
        self._make_room(ROOM_AFTER_PREEMPTION * going_on)

    def seated(self, job: Job) -> None:
        """What came is stored in the tree."""
        self._store(job, job.computed)

    def step_planned(self, chunks: Collection[Job]) -> None:
        """Make the plan's blocks empty, and note whose prompts the step computes."""
        opened, seqs = self._decoding
        if self._extending or seqs:
            left, size = self.free_blocks, self.block_size
            empty = left * size - self.tree.evictable
            # Else what is asked for is empty even when all of the plan has been taken
            if empty < self._extending or empty < opened * size or empty < seqs * size:
                self.free_blocks += self._taken  # as it was before the plan
                extended = self._taken - opened
                self._make_room(self._extending)
                self.free_blocks -= extended
                self._make_room(opened * size)
                self._make_room(seqs * size)
                self.free_blocks = left
            self._taken = self._extending = 0
            self._decoding = 0, 0
        ending: list[tuple[Job, int, int]] = []
        if chunks:
            self._chunked = [job for job in chunks if job in self._partial]
            done = (job for job in chunks if job not in self._partial)
            ending = [(job, job.preemptions, job.computed_tokens) for job in done]
        elif self._chunked:
            self._chunked = []
        self._computing.append(ending)

    def step_ended(self, completing: Sequence[Job]) -> None:
        """Store the prompts that the step computed, and what is complete."""
        ended = self._computing.pop(0)
        if not ended and not completing:
            return
        stored = set()
        for job, preemptions, tokens in ended:
            if job in self._running and job.preemptions == preemptions:
                self._store(job, tokens)
                stored.add(job)
        for job in completing:
            if job in self._running and job not in stored:
                self._store(job, job.computed)

    def fast_forwarded(self, first_tick: int, steps: int, blocks: int) -> None:
        """Evict what planning each of these steps does; nothing is stored in them."""
        openers, size, block_size = self._group.openers, self._group.size, self.block_size
        left = self.free_blocks
        if left * block_size - self.tree.evictable < size * block_size:
            ticks = range(first_tick, first_tick + steps)
            self.free_blocks += blocks
            for tick in ticks:
                opened = openers[tick % block_size]
                self._make_room(opened * block_size)
                self._make_room(size * block_size)
                self.free_blocks -= opened
        assert self.free_blocks == left
        self._computing.append([])

    def forget(self, job: Job) -> None:
        """A job has left; what it consists of need not be known any more."""
        self._contents.pop(job, None)

    # Blocks

    def take(self, job: Job, blocks: int) -> None:
        """Give a job blocks; there are as many free."""
        self.free_blocks -= blocks
        job.blocks += blocks
        self._taken += blocks
        if job not in self._nodes:  # it comes from elsewhere
            self._nodes[job] = self.tree.root

    def release(self, job: Job) -> None:
        """Empty the job's own pages; those in the tree become evictable, unless others hold them too."""
        node = self._nodes.pop(job)
        self.free_blocks += job.blocks - node.stop // self.block_size
        job.blocks = 0
        self._unlock(node)

    def _store(self, job: Job, tokens: int) -> None:
        """Hand the whole pages of a job's first ``tokens`` tokens to the tree; where it has them, drop ours."""
        held = self._nodes[job]
        node, _ = self.tree.insert(self._runs(job, tokens), to_lock=True)
        if node is not held:
            self.free_blocks += (node.stop - held.stop) // self.block_size
            self._lock(node)
            self._unlock(held)
            self._nodes[job] = node

    def _lock(self, node: Node) -> None:
        self.free_blocks -= self.tree.lock(node) // self.block_size

    def _unlock(self, node: Node) -> None:
        self.free_blocks += self.tree.unlock(node) // self.block_size

    def _make_room(self, tokens: int) -> None:
        """Evict as many tokens as asked for, if fewer are empty."""
        if self.free_blocks * self.block_size - self.tree.evictable < tokens:
            self.tree.evict(tokens)

    def _blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    # What sequences begin alike

    def _content_of(self, job: Job) -> Content:
        content = self._contents.get(job)
        if content is None:
            content = self._contents[job] = self._content(job)
        return content

    def _runs(self, job: Job, tokens: int) -> Runs:
        """The job's first ``tokens`` tokens."""
        runs, end = [], 0
        for stream, length in self._content_of(job).pieces(0, tokens) if tokens else ():
            end += length
            runs.append((stream, end))
        return tuple(runs)

    def _match(self, job: Job) -> Node:
        """What is found of a job; a second look in a row counts as no other use, which changes no order."""
        tokens = job.known_tokens - 1
        if self._asked != (job, tokens, self.tree.uses):
            self._found = self.tree.match(self._runs(job, tokens))
            self._asked = job, tokens, self.tree.uses
        return self._found

    def _longest_prefix_first(self, waiting: Sequence[Job]) -> dict[Job, float]:
        """By cached tokens; of those that begin alike and find little, all but one wait for it to be cached."""
        ranks: dict[Job, float] = {}
        earlier = RadixTree()
        for job in waiting:
            runs = self._runs(job, job.known_tokens - 1)
            cached = self.tree.match(runs).stop
            ranks[job] = -cached
            if cached <= LIKE_EARLIER_TOKENS:
                if earlier.match(runs).stop >= LIKE_EARLIER_TOKENS:
                    ranks[job] = float("inf")
                else:
                    earlier.insert(runs)
        return ranks

    def _depth_first(self, waiting: Sequence[Job]) -> dict[Job, float]:
        """In the order of a walk that takes the branch with the most waiting jobs first, children first."""
        ends: dict[Node, list[Job]] = {}
        for job in waiting:
            ends.setdefault(self._match(job), []).append(job)
        weights: dict[Node, int] = {}
        for end, jobs in ends.items():
            node: Node | None = end
            while node is not None:
                weights[node] = weights.get(node, 0) + len(jobs)
                node = node.parent
        ranks: dict[Job, float] = {}
        stack = [(self.tree.root, False)]
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
