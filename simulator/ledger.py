"""The plan of one step, written by a policy through verbs that refuse what does not fit.

The ledger is the only writer of a replica's queues and KV blocks. A verb that cannot be honoured
(no token budget, seat or block left) changes nothing and returns ``False``: that is how a policy
finds out that the step is full. A verb that makes no sense (a job that is not waiting, more tokens
than it has) is a bug in the policy and raises ``ValueError``.
"""

from collections import deque

from simulator.cost import StepShape
from simulator.decode_group import DecodeGroup
from simulator.records import Records
from simulator.request import Job, RequestState


class Ledger:
    """One replica's queues and KV blocks, and the step being planned on them."""

    __slots__ = (
        "_chunks",
        "_outside_tokens",
        "block_size",
        "changed",
        "free_blocks",
        "group",
        "max_num_batched_tokens",
        "max_num_seqs",
        "now_s",
        "partial",
        "preempted",
        "records",
        "running",
        "shape",
        "step",
        "ticks",
        "token_budget",
        "total_blocks",
        "waiting",
    )

    def __init__(
        self, *, max_num_seqs: int, max_num_batched_tokens: int, total_blocks: int, block_size: int
    ) -> None:
        """``total_blocks`` are those that requests can use."""
        self.max_num_seqs = max_num_seqs
        self.max_num_batched_tokens = max_num_batched_tokens
        self.total_blocks = total_blocks
        self.block_size = block_size
        self.records = Records()
        self.waiting: deque[Job] = deque()
        self.running: dict[Job, None] = {}  # in order of admission
        self.partial: dict[Job, None] = {}  # the running jobs that are not decoding, in that order
        self.group = DecodeGroup(block_size, self.records.spans)
        self.free_blocks = total_blocks
        self.step = 0  # index of the step being planned
        self.now_s = 0.0
        self.shape = StepShape()
        self.token_budget = max_num_batched_tokens
        self.preempted: list[Job] = []  # in this step, in that order
        self.changed = False  # whether anybody was preempted or failed in this step
        self._chunks: dict[Job, int] = {}  # prompt tokens scheduled in this step
        self.ticks = False  # whether the decode group is scheduled in this step
        self._outside_tokens = 0  # known tokens of unfinished jobs outside the decode group

    # What a policy may ask

    @property
    def seats(self) -> int:
        """How many more jobs may run."""
        return self.max_num_seqs - len(self.running)

    @property
    def outstanding_tokens(self) -> int:
        """Known tokens of all unfinished jobs: queued, being computed and in the cache."""
        return self._outside_tokens + self.group.context_tokens()

    @property
    def blocks_opening(self) -> int:
        """KV blocks that one token for every decoding job needs."""
        return self.group.openers[self.group.tick % self.block_size]

    def blocks_for(self, tokens: int) -> int:
        """KV blocks that ``tokens`` tokens fill."""
        return -(-tokens // self.block_size)

    def opens_block(self, job: Job) -> bool:
        """Whether the next token of a decoding job needs a new block."""
        return not job.reserved and job.computed_tokens % self.block_size == 0

    def blocks_held(self, job: Job) -> int:
        """KV blocks that a job holds now, those of this step included."""
        if job._decoding is None or job.reserved:
            return job.blocks
        return self.blocks_for(job.computed_tokens + self.ticks)

    def last_running(self) -> Job:
        """The running job that was admitted last."""
        return next(reversed(self.running))

    # What a policy may do

    def decode_all(self) -> bool:
        """Schedule one token for every job that is decoding, or refuse and change nothing."""
        if self.ticks:
            raise ValueError("decode_all() was called twice in one step")
        group = self.group
        size = group.size
        if size:
            blocks = group.openers[group.tick % self.block_size]
            if blocks > self.free_blocks or size > self.token_budget:
                return False
            self.free_blocks -= blocks
            self.token_budget -= size
            shape = self.shape
            shape.decode_seqs = size
            shape.decode_context_tokens = group.context_base + size * group.tick
            self.ticks = True
        return True

    def prefill(self, job: Job, tokens: int) -> bool:
        """Schedule ``tokens`` more of a running job's known tokens, or refuse and change nothing."""
        if job not in self.partial:
            raise ValueError(f"{job} is not running with tokens left to compute")
        return self._schedule(job, tokens)

    def admit(self, job: Job, tokens: int, reserve_tokens: int = 0) -> bool:
        """Start a waiting job with ``tokens`` of its known tokens, or refuse and change nothing.

        ``reserve_tokens`` takes the blocks for that many tokens at once; the job never asks for more.
        """
        if job._decoding is not None or job in self.running:
            raise ValueError(f"{job} is already running")
        if len(self.running) >= self.max_num_seqs or not self._schedule(job, tokens, reserve_tokens):
            return False
        waiting = self.waiting
        if waiting[0] is job:
            waiting.popleft()
        else:
            waiting.remove(job)
        self.running[job] = None
        self.partial[job] = None
        return True

    def preempt(self, job: Job) -> None:
        """Give all of a running job's blocks back and put it at the head of the queue.

        What it had computed is lost and computed again later; tokens already delivered stay
        delivered. If it was scheduled in this step, its tokens go back to the budget.
        """
        if job not in self.running:
            raise ValueError(f"{job} is not running")
        self.free_blocks += self.blocks_held(job)
        shape = self.shape
        if job._decoding is not None:
            if self.ticks:
                self.token_budget += 1
                shape.decode_seqs -= 1
                shape.decode_context_tokens -= job.computed_tokens + 1
            self.group.leave(job)
            self._outside_tokens += job.known_tokens
        else:
            del self.partial[job]
            tokens = self._chunks.pop(job, 0)
            if tokens:
                self._shape_entry(job, tokens, -1)
                self.token_budget += tokens
        del self.running[job]
        self.records.preemptions.extend((self.step, job.id, job._computed))
        job._computed = 0
        job.blocks = 0
        job.reserved = False
        job.preemptions += 1
        self.waiting.appendleft(job)
        self.preempted.append(job)
        self.changed = True

    def fail(self, job: Job) -> None:
        """Refuse a waiting job for good: it can never be served here."""
        self.waiting.remove(job)
        self._outside_tokens -= job.known_tokens
        self.records.ended.append((job.id, RequestState.FAILED, self.now_s))
        self.changed = True

    # What the replica does with it

    def submit(self, job: Job) -> None:
        """Queue a job that has just arrived."""
        self.waiting.append(job)
        self._outside_tokens += job.prompt_tokens

    def open(self, now_s: float) -> None:
        """Begin the plan of the next step."""
        self.now_s = now_s
        self.token_budget = self.max_num_batched_tokens
        shape = self.shape
        shape.decode_seqs = 0
        shape.decode_context_tokens = 0
        if self._chunks:
            self._chunks.clear()
            shape.prefill_tokens = 0
            shape.prefill_seqs = 0
            shape.prefill_attention_pairs = 0.0
            shape.prefill_context_tokens = 0
        if self.changed:
            self.changed = False
            self.preempted.clear()

    def commit(self, end_s: float) -> int:
        """Carry out the step that ends now; return how many tokens it produced."""
        tokens = 0
        group = self.group
        if self.ticks:
            self.ticks = False
            tokens = group.size
            group.tick += 1
            if group.tick in group.last_ticks:
                for job in group.finished():
                    self._finish(job, end_s)
        if self._chunks:
            for job, chunk in self._chunks.items():
                self.records.chunks.extend((self.step, job.id, chunk, job._computed))
                job._computed += chunk
                known = job.prompt_tokens + job._generated
                if job._computed == known:
                    tokens += 1
                    self.records.prompt_ends.extend((job.id, self.step))
                    del self.partial[job]
                    self._outside_tokens -= known
                    job._generated += 1
                    if job._generated == job._output_tokens:
                        self._finish(job, end_s)
                    else:
                        group.join(job)
        self.step += 1
        return tokens

    def close(self) -> None:
        """Write down what is still running when the simulation ends."""
        for job in self.running:
            if job._decoding is not None:
                self.group.leave(job)

    def _finish(self, job: Job, end_s: float) -> None:
        self.free_blocks += job.blocks
        del self.running[job]
        self.records.ended.append((job.id, RequestState.COMPLETED, end_s))

    def _schedule(self, job: Job, tokens: int, reserve_tokens: int = 0) -> bool:
        """Take budget and blocks for a chunk of a job."""
        computed = job._computed
        if not 0 < tokens <= job.prompt_tokens + job._generated - computed:
            raise ValueError(f"cannot schedule {tokens} tokens of {job}")
        if job in self._chunks:
            raise ValueError(f"{job} is already scheduled in this step")
        after = computed + tokens
        blocks = -(-max(after, reserve_tokens) // self.block_size) - job.blocks
        if tokens > self.token_budget or blocks > self.free_blocks:
            return False
        if blocks > 0:
            self.free_blocks -= blocks
            job.blocks += blocks
        if reserve_tokens:
            job.reserved = True
        self.token_budget -= tokens
        self._chunks[job] = tokens
        self._shape_entry(job, tokens, 1)
        return True

    def _shape_entry(self, job: Job, tokens: int, sign: int) -> None:
        """Add a chunk to the step's shape (``sign`` 1) or take it out again (-1)."""
        shape = self.shape
        computed = job._computed
        if tokens == 1 and job._generated and computed + 1 == job.prompt_tokens + job._generated:
            shape.decode_seqs += sign  # the last token of a recomputation runs like any decode
            shape.decode_context_tokens += sign * (computed + 1)
        else:
            shape.prefill_tokens += sign * tokens
            shape.prefill_seqs += sign
            shape.prefill_attention_pairs += sign * tokens * (computed + 0.5 * tokens)
            shape.prefill_context_tokens += sign * (computed + tokens)
