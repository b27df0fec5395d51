"""Prefix caching with SGLang's semantics: the KV pages of equal beginnings are shared through a radix tree.

What a request has computed enters the tree chunk by chunk: a chunk of a prompt before the next one is
planned, the prompt when its last step ends, the output when the request is complete. Pages in the tree
stay findable until their room is needed, then whole leaves go, least recently used first.

``free_blocks`` counts what can be taken right now: empty pages, and pages in the tree that no running
request holds. The latter are evicted when a step's plan is final; until then requests that come later in
the same plan can still find them, as in the engine, which allocates for a whole batch at once.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

from simulator.replica.content import Content, StreamPieces
from simulator.replica.decode_group import DecodeGroup
from simulator.replica.job import Job
from simulator.replica.kv import PrefixRule
from simulator.replica.radix_ranks import depth_first, longest_prefix_first
from simulator.replica.radix_tree import Node, RadixTree, Runs

ROOM_AFTER_PREEMPTION = 20  # tokens that are evicted for each request that goes on decoding


class RadixPages:
    """Computed pages in a radix tree; a block is a page (a ``PrefixCache``)."""

    __slots__ = (
        "_asked", "_content", "_contents", "_found", "_group", "_partial", "_running", "block_size", "chunked",
        "computing", "decoding_now", "ended", "extending", "free_blocks", "nodes", "planned", "taken",
        "total_blocks", "tree",
    )  # fmt: skip

    group_type: ClassVar[type[DecodeGroup]] = DecodeGroup

    def __init__(self, total_blocks: int, block_size: int, content: Callable[[Job], Content]) -> None:
        """``content`` returns what a request consists of."""
        self.total_blocks = self.free_blocks = total_blocks
        self.block_size = block_size
        self.tree = RadixTree(block_size)
        self._content = content
        self._contents: dict[Job, Content] = {}
        self.nodes: dict[Job, Node] = {}  # of running jobs: the end of what the tree holds of them, locked
        self.chunked: list[Job] = []  # had a chunk of their prompt, not the last, in the step planned last
        self.planned = self.ended = 0  # steps
        # Jobs whose prompts end in steps in flight: the number of the step, their preemptions and tokens
        self.computing: deque[tuple[int, Job, int, int]] = deque()
        self._found = self.tree.root
        self._asked: tuple[Job, int, int] | None = (
            None  # what was looked up last, after how many uses of the tree
        )
        self.taken = 0  # blocks taken by the plan so far
        self.extending = 0  # tokens that its prompts ask for
        self.decoding_now = (0, 0)  # blocks that its decodes ask for: those they need, and one for each

    @property
    def can_fast_forward(self) -> bool:
        """While what is being computed, which is stored when its step ends, is nowhere in the tree yet.

        Then as many blocks are free as were before.
        """
        return not self.chunked and (not self.computing or self._stays_apart())

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
        if rule == "lpm":
            return longest_prefix_first(
                self.tree, ((job, self._runs(job, job.known_tokens - 1)) for job in waiting)
            )
        return depth_first(self.tree, ((job, self._match(job)) for job in waiting))

    def begin(self, job: Job) -> int:
        """Give a waiting job what the tree holds of it; return how many tokens that is."""
        node = self._match(job)
        self.nodes[job] = node
        self._lock(node)
        job.blocks, job.computed = node.stop // self.block_size, node.stop
        return node.stop

    # The moments of a step

    def step_opened(self) -> None:
        """Store the chunks of the step planned before."""
        if self.chunked:
            for job in self.chunked:
                if job in self._partial:
                    self._store(job, job.computed)
            self.chunked.clear()

    def chunk(self, job: Job, first_token: int, tokens: int) -> None:
        """Note what it asks for: with pages of many tokens one more than it needs. It is stored when it is computed."""
        self.extending += tokens if self.block_size == 1 else tokens + self.block_size

    def decoding(self, blocks: int, seqs: int) -> None:
        """Note what the decoding jobs take."""
        self.taken += blocks
        self.decoding_now = blocks, seqs

    def drafting(self, blocks: int, seqs: int, too_many: int) -> None:
        """Note what they take, which is counted already but for what is too many."""
        self.taken += too_many
        self.decoding_now = blocks, seqs

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
        opened, seqs = self.decoding_now
        if self.extending or seqs:
            tree, size = self.tree, self.block_size
            empty = (self.free_blocks + self.taken) * size - tree.evictable  # before the plan
            if empty < self.extending:
                empty += tree.evict(self.extending)
            empty -= (self.taken - opened) * size
            if empty < opened * size:
                empty += tree.evict(opened * size)
            if empty < seqs * size:
                tree.evict(seqs * size)
            self.taken = self.extending = 0
            self.decoding_now = 0, 0
        for job in chunks:
            if job in self._partial:
                self.chunked.append(job)
            else:
                self.computing.append((self.planned, job, job.preemptions, job.computed_tokens))
        self.planned += 1

    def step_ended(self, completing: Sequence[Job]) -> None:
        """Store the prompts that the step computed, and what is complete."""
        self.ended += 1
        stored = self._store_ended() if self.computing else ()
        for job in completing:
            if job in self._running and job not in stored:
                self._store(job, job.computed)

    def fast_forwarded(self, first_tick: int, steps: int, blocks: int, seqs: int) -> None:
        """Evict what planning each of these steps does; store what the step in flight computed when it ends."""
        self.planned += steps
        self.ended += steps - 1
        if self.computing:
            self._store_ended()  # it is locked, so that as much can be evicted as before
        size, left, tree = self.block_size, self.free_blocks, self.tree
        most, empty = seqs * size, left * size - tree.evictable
        if empty < most:
            empty += blocks * size
            openers = self._group.openers if steps > 1 else [blocks] * size
            for tick in range(first_tick, first_tick + steps):
                opened = openers[tick % size] * size
                if empty < most:
                    if empty < opened:
                        empty += tree.evict(opened)
                    if empty < most:
                        empty += tree.evict(most)
                empty -= opened
        assert self.free_blocks == left

    def forget(self, job: Job) -> None:
        """A job has left; what it consists of need not be known any more."""
        self._contents.pop(job, None)

    # Blocks

    def take(self, job: Job, blocks: int) -> None:
        """Give a job blocks; there are as many free."""
        self.free_blocks -= blocks
        job.blocks += blocks
        self.taken += blocks
        if job not in self.nodes:  # it comes from elsewhere
            self.nodes[job] = self.tree.root

    def release(self, job: Job) -> None:
        """Empty the job's own pages; those in the tree become evictable, unless others hold them too."""
        node = self.nodes.pop(job)
        self.free_blocks += job.blocks - node.stop // self.block_size
        job.blocks = 0
        self._unlock(node)

    def _store_ended(self) -> Collection[Job]:
        """Store the prompts of the steps that have ended; return whose they are."""
        computing, stored = self.computing, []
        while computing and computing[0][0] < self.ended:
            _, job, preemptions, tokens = computing.popleft()
            if job in self._running and job.preemptions == preemptions:
                self._store(job, tokens)
                stored.append(job)
        return stored

    def _store(self, job: Job, tokens: int) -> None:
        """Hand the whole pages of a job's first ``tokens`` tokens to the tree; where it has them, drop ours."""
        held = self.nodes[job]
        runs = self._piece(job, held.stop, tokens) if held.stop < tokens else ()
        node, _ = self.tree.insert(runs, to_lock=True, held=held)
        if node is not held:
            newly_locked = self.tree.lock(node, held)
            self.free_blocks += (node.stop - held.stop) // self.block_size - newly_locked // self.block_size
            self.nodes[job] = node

    def _stays_apart(self) -> bool:
        """Whether all that the steps in flight compute will be stored beside what the tree has now."""
        places: list[tuple[Node, Runs]] = []
        for _, job, preemptions, tokens in self.computing:
            held, page = self.nodes.get(job), self.block_size
            if held is None or job.preemptions != preemptions:
                return False
            if held.stop + page <= tokens:
                piece = self._piece(job, held.stop, held.stop + page)
                if piece in held.children:
                    return False
                places.append((held, piece))
        return len(places) < 2 or len(set(places)) == len(places)

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

    def _runs(self, job: Job, tokens: int) -> Runs:
        """The job's first ``tokens`` tokens."""
        return self._piece(job, 0, tokens) if tokens else ()

    def _piece(self, job: Job, start: int, stop: int) -> Runs:
        """The job's tokens at positions ``start`` to ``stop``."""
        content = self._contents.get(job)
        if content is None:
            content = self._contents[job] = self._content(job).read()
        if len(content.streams) == 1:  # nothing in common with another, which is quickly said
            return ((content.streams[0], stop),)
        runs, end = [], start
        for stream, length in content.pieces(start, stop):
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
