"""The plan of one step, written by a policy through verbs that refuse what does not fit.

A ledger holds one replica's queues and KV blocks; its verbs are their only writers. A verb that cannot
be honoured (no token budget, seat or block left) changes nothing and returns ``False``: that is how a
policy finds out that the step is full. A verb that makes no sense (a job that is not waiting, more
tokens than it has) is a bug in the policy and raises ``ValueError``.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from simulator.replica.cost import DecodePiece, StepShape
from simulator.replica.decode_group import DecodeGroup
from simulator.replica.limits import Limits
from simulator.replica.records import Records
from simulator.replica.request import Job, RequestState


class Ledger:
    """What a policy sees of its replica, and what it may do to it in one step."""

    __slots__ = (
        "_admissions", "_chunks", "_leaving", "_outside_tokens", "_queue_key", "block_size", "changed", "decode_piece",
        "doors", "free_blocks", "free_cpu_blocks", "fruitless_steps", "group", "joined", "limits", "now_s",
        "on_end", "partial", "preempted", "price", "records", "running", "shape", "step", "swapped", "ticks",
        "token_budget", "total_blocks", "waiting",
    )  # fmt: skip

    group_type: ClassVar[type[DecodeGroup]] = DecodeGroup

    def __init__(
        self, limits: Limits, *, null_blocks: int = 0, queue_key: Callable[[Job], Any] | None = None
    ) -> None:
        """``null_blocks`` are kept by the engine; ``queue_key`` orders the queue, by arrival if None."""
        self.limits = limits
        self.total_blocks = limits.num_gpu_blocks - null_blocks  # that requests can use
        self.block_size = limits.block_size
        self.records = Records()
        self.waiting: deque[Job] = deque()
        self.running: dict[Job, None] = {}  # in order of admission
        self.partial: dict[Job, None] = {}  # running jobs outside the decode group with tokens to compute
        self.swapped: dict[Job, None] = {}  # jobs whose blocks are in host memory, in order of leaving
        self.group = self.group_type(limits.block_size, self.records.spans)
        self.free_blocks = self.total_blocks
        self.free_cpu_blocks = limits.num_cpu_blocks
        self.step = 0  # index of the step being planned
        self.now_s = 0.0
        self.shape = StepShape()
        self.token_budget = limits.max_num_batched_tokens
        self.preempted: list[Job] = []  # in this step, in that order
        self.changed = False  # whether anybody was preempted, swapped or failed in this step
        self.joined: list[Job] = []  # running since the last plan, with KV that was computed elsewhere
        self.ticks = False  # whether the decode group is scheduled in this step
        self.on_end: Callable[[Job, RequestState, float], None] | None = None  # told of every end
        self.price: Callable[[StepShape], float] = _no_price  # how long a step of some shape would take, s
        self.decode_piece: Callable[[int, int], DecodePiece] | None = None  # as in ``simulator.replica.cost``
        self.fruitless_steps = 0  # since a step produced a token
        self._leaving: list[tuple[Job, RequestState]] = []  # dropped since the last plan
        self.doors = False  # whether anybody comes or goes before the next plan other than by the policy
        self._queue_key = queue_key
        self._admissions = 0
        self._chunks: dict[Job, int] = {}  # tokens scheduled in this step outside the group
        self._outside_tokens = 0  # known tokens of unfinished jobs outside the decode group

    # What a policy may ask

    @property
    def seats(self) -> int:
        """How many more jobs may run."""
        return self.limits.max_num_seqs - len(self.running)

    @property
    def outstanding_tokens(self) -> int:
        """Known tokens of all unfinished jobs: queued, being computed and in the cache."""
        return self._outside_tokens + self.group.context_tokens()

    @property
    def uncomputed_tokens(self) -> int:
        """Known tokens that are still to be computed before everybody here decodes."""
        return self._outside_tokens - sum(job._computed for job in self.partial)

    @property
    def blocks_opening(self) -> int:
        """KV blocks that one token for every decoding job needs."""
        return self.group.openers[self.group.tick % self.block_size]

    def blocks_for(self, tokens: int) -> int:
        """KV blocks that ``tokens`` tokens fill."""
        return -(-tokens // self.block_size)

    def blocks_held(self, job: Job) -> int:
        """KV blocks that a job holds now, those of this step included."""
        if job._decoding is None or job.reserved:
            return job.blocks
        return self.blocks_for(job.computed_tokens + self.ticks)

    def cached_tokens(self, job: Job) -> int:
        """Known tokens that a waiting job would find computed already; 0 without prefix caching."""
        return 0

    def blocks_to_admit(self, job: Job, tokens: int) -> int:
        """Free blocks that a waiting job takes to hold its first ``tokens`` tokens, cached ones included."""
        return -(-tokens // self.block_size)

    def prefix_ranks(self, rule: Literal["lpm", "dfs-weight"]) -> dict[Job, float]:
        """Where waiting jobs stand by what a radix tree holds of them, SGLang's two ways; smallest first."""
        return {}

    def last_running(self) -> Job:
        """The running job that was admitted last."""
        return next(reversed(self.running))

    # What a policy may do

    def decode_all(self) -> bool:
        """Schedule one token for every job in the decode group, or refuse and change nothing."""
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

    def decode_beyond_the_end(self) -> None:
        """Compute a token more, which nobody gets, for all whose last one is under way.

        That is what an engine does that plans the next step before it has looked for ends.
        """
        for job in self.running:
            if job.completing:
                self.token_budget -= 1
                self.shape.count(1, job._computed, True, 1)

    def hold(self, job: Job) -> None:
        """Take a job out of the decode group: it goes on by ``prefill(job, 1)``, or sits this step out.

        It comes back to the group by itself with its next token.
        """
        if job._decoding is None or self.ticks:
            raise ValueError(f"{job} is not in a decode group that could still leave it out")
        self.group.leave(job)
        self.partial[job] = None
        self._outside_tokens += job.known_tokens

    def prefill(self, job: Job, tokens: int) -> bool:
        """Schedule ``tokens`` more of a running job's known tokens, or refuse and change nothing."""
        if job not in self.partial:
            raise ValueError(f"{job} is not running with tokens left to compute")
        return self._schedule(job, tokens)

    def admit(self, job: Job, tokens: int, reserve_tokens: int = 0) -> bool:
        """Start a waiting job with ``tokens`` of its known tokens, or refuse and change nothing.

        ``reserve_tokens`` takes the blocks for that many tokens at once.
        """
        if job._decoding is not None or job in self.running:
            raise ValueError(f"{job} is already running")
        if self.seats <= 0 or not self._schedule(job, tokens, reserve_tokens):
            return False
        waiting = self.waiting
        if waiting[0] is job:
            waiting.popleft()
        else:
            waiting.remove(job)
        self.running[job] = None
        self.partial[job] = None
        job.admission = self._admissions
        self._admissions += 1
        return True

    def preempt(self, job: Job, at_head: bool = True) -> None:
        """Give all of a running job's blocks back and put it at the head (or the end) of the queue.

        What it had computed is lost and computed again later; tokens already delivered stay
        delivered. If it was scheduled in this step, its tokens go back to the budget. A job that has
        grown beyond the whole cache fails (with ``strict_engine`` it is queued all the same).
        """
        self._stop_running(job)
        self._lose_cache(job)
        self.preempted.append(job)
        outgrown = self.blocks_for(job.known_tokens) > self.total_blocks and not job.completing
        if outgrown and not self.limits.strict_engine:
            self._end(job, RequestState.FAILED, self.now_s)
        else:
            self._enqueue(job, at_head)

    def swap_out(self, job: Job) -> bool:
        """Move a running job's blocks to host memory, or refuse if that is full."""
        blocks = self.blocks_held(job)
        if blocks > self.free_cpu_blocks:
            return False
        self._stop_running(job)
        self._release(job)
        job.blocks = blocks  # now on the host
        job.preemptions += 1
        self.free_cpu_blocks -= blocks
        self.swapped[job] = None
        self.preempted.append(job)
        self.shape.swap_out_blocks += blocks
        self.records.preemptions.extend((self.step, job.id, job._computed))
        return True

    def swap_in(self, job: Job, tokens: int) -> bool:
        """Bring a swapped job back and schedule ``tokens`` of it, or refuse and change nothing."""
        blocks = job.blocks
        if job not in self.swapped:
            raise ValueError(f"{job} is not swapped out")
        if self.seats <= 0 or blocks > self.free_blocks:
            return False
        self.free_blocks -= blocks
        if not self._schedule(job, tokens):
            self.free_blocks += blocks
            return False
        del self.swapped[job]
        self.free_cpu_blocks += blocks
        self.shape.swap_in_blocks += blocks
        self.changed = True
        self.running[job] = None
        self.partial[job] = None
        return True

    def fail(self, job: Job) -> None:
        """Refuse a waiting or swapped job for good: it can never be served here."""
        if job in self.swapped:
            del self.swapped[job]  # as in vLLM, its host memory is not given back
        else:
            self.waiting.remove(job)
        self._end(job, RequestState.FAILED, self.now_s)
        self.changed = True

    def move_to_head(self, job: Job) -> None:
        """Put a waiting job at the head of the queue, as far as the queue's order lets it."""
        self.waiting.remove(job)
        self._enqueue(job, at_head=True)

    def sort_waiting(self, key: Callable[[Job], Any]) -> None:
        """Reorder the waiting queue; equals stay as they are, and whoever comes later joins at the end."""
        ordered = sorted(self.waiting, key=key)
        self.waiting.clear()
        self.waiting.extend(ordered)

    # How the verbs do it

    def _enqueue(self, job: Job, at_head: bool = False) -> None:
        key = self._queue_key
        if key is not None:
            find = bisect_left if at_head else bisect_right
            self.waiting.insert(find(self.waiting, key(job), key=key), job)
        elif at_head:
            self.waiting.appendleft(job)
        else:
            self.waiting.append(job)

    def _stop_running(self, job: Job) -> None:
        """Take a job off the running ones, and out of this step if it is in it; keep its blocks."""
        if job not in self.running:
            raise ValueError(f"{job} is not running")
        if job._decoding is not None:
            if self.ticks:
                self.token_budget += 1
                self.shape.decode_seqs -= 1
                self.shape.decode_context_tokens -= job.computed_tokens + 1
            blocks = self.blocks_held(job)
            self.group.leave(job)
            job.blocks = blocks
            self._outside_tokens += job.known_tokens
        else:
            self.partial.pop(job, None)
            tokens = self._chunks.pop(job, 0)
            if tokens:
                self.shape.count(tokens, job._computed, job.decodes, -1)
                self.token_budget += tokens
        del self.running[job]
        self.changed = True

    def _take(self, job: Job, blocks: int) -> None:
        """Give a job blocks; there are as many free."""
        self.free_blocks -= blocks
        job.blocks += blocks

    def _release(self, job: Job) -> None:
        """Take all blocks of a job that is not in the decode group back."""
        self.free_blocks += job.blocks
        job.blocks = 0

    def _lose_cache(self, job: Job) -> None:
        """Give a job's blocks back: what it had computed is computed again later."""
        self._release(job)
        self.records.preemptions.extend((self.step, job.id, job._computed))
        job._computed = 0
        job.reserved = False
        job.preemptions += 1

    def _end(self, job: Job, state: RequestState, time_s: float) -> None:
        """Write down the final state of a job that is in no queue any more."""
        self._outside_tokens -= job.known_tokens
        self.records.ended.extend((job.id, state, time_s))
        if self.on_end is not None:
            self.on_end(job, state, time_s)

    def _schedule(self, job: Job, tokens: int, reserve_tokens: int = 0) -> bool:
        """Take budget and blocks for a chunk of a job."""
        computed = job._computed
        if not 0 < tokens <= job.prompt_tokens + job._generated - computed:
            raise ValueError(f"cannot schedule {tokens} tokens of {job}")
        if job in self._chunks:
            raise ValueError(f"{job} is already scheduled in this step")
        blocks = -(-max(computed + tokens, reserve_tokens) // self.block_size) - job.blocks
        if tokens > self.token_budget or blocks > self.free_blocks:
            return False
        if blocks > 0:
            self._take(job, blocks)
        if reserve_tokens >= job.prompt_tokens + job.max_tokens:
            job.reserved = True  # it will never ask for more
        self.token_budget -= tokens
        self._chunks[job] = tokens
        self.shape.count(tokens, computed, tokens == 1 and job.decodes, 1)
        return True


def _no_price(shape: StepShape) -> float:
    raise ValueError("this ledger belongs to no replica, so nothing is known of its step times")
