"""The state of one engine: its queues, its KV pool, the plan of the step that is being planned, and its records.

Here are the moves that change it: whatever takes a job from one place to another goes through them. What a policy
may do with it is in ``ledger.py``, what the replica does in ``engine.py``.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from simulator.replica.cost import DecodePiece, StepShape
from simulator.replica.decode_group import DecodeGroup
from simulator.replica.job import ENDED, RUNNING, WAITING, Job
from simulator.replica.kv import KvPool, PrefixCache
from simulator.replica.lanes import Lanes
from simulator.replica.limits import Limits
from simulator.replica.records import Records
from simulator.replica.request import RequestState

LateCache = Callable[[Any], None]  # puts a prefix cache in the place of an engine's KV pool


class EngineState:
    """Queues, KV blocks and records of one engine."""

    __slots__ = (
        "admissions", "block_size", "cache", "changed", "chunks", "decode_piece", "done_jobs", "done_tokens",
        "dropped", "free_cpu_blocks", "fruitless_steps", "group", "joined", "kv", "lanes", "late_cache", "limits",
        "now_s", "on_end", "outside_tokens", "partial", "pending", "plans_ahead", "preempted", "price", "queue_key",
        "recomputes_as_prefill", "records", "running", "shape", "step", "swapped", "ticks", "token_budget",
        "too_many_blocks", "total_blocks", "unended", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        limits: Limits,
        kv: KvPool,
        *,
        cache: PrefixCache | None = None,
        late_cache: LateCache | None = None,
        queue_key: Callable[[Job], Any] | None = None,
        price: Callable[[StepShape], float] | None = None,
        decode_piece: Callable[[int, int], DecodePiece] | None = None,
        on_end: Callable[[Job, RequestState, float], None] | None = None,
        plans_ahead: bool = False,
    ) -> None:
        """``cache`` is ``kv`` where it shares blocks; ``late_cache`` puts one there at the first preemption.

        ``queue_key`` orders the queue, by arrival if None.
        With ``plans_ahead`` a step is planned while the one before still runs.
        ``price`` and ``decode_piece`` are those of ``simulator.replica.cost``; ``on_end`` is told of every end.
        """
        self.limits = limits
        self.plans_ahead = plans_ahead
        self.recomputes_as_prefill = False  # as in ``EngineRules``
        self.kv = kv
        self.cache = cache
        self.late_cache = late_cache
        self.lanes: Lanes | None = None  # of an engine whose SMs are split between prompts and decodes
        self.total_blocks, self.block_size = kv.total_blocks, kv.block_size  # for requests
        self.records = Records()
        self.waiting: deque[Job] = deque()
        self.running: dict[Job, None] = {}  # in order of admission
        self.partial: dict[Job, None] = {}  # running jobs outside the decode group with tokens to compute
        self.swapped: dict[Job, None] = {}  # jobs whose blocks are in host memory, in order of leaving
        group_type = DecodeGroup if cache is None else cache.group_type
        self.group = group_type(kv.block_size, self.records.spans)
        if cache is not None:
            cache.watch(self.running, self.partial, self.group)
        self.free_cpu_blocks = limits.num_cpu_blocks
        self.step, self.now_s = 0, 0.0  # index of the step being planned, and when that is
        self.shape = StepShape()
        self.token_budget = limits.max_num_batched_tokens
        self.preempted: list[Job] = []  # in this step, in that order
        self.changed = False  # whether a job was preempted, swapped or failed in this step
        self.joined: list[Job] = []  # running since the last plan, with KV that was computed elsewhere
        self.too_many_blocks = 0  # that tokens after an answer's last take in this step, until it has ended
        # Of each step in flight: these, its ticks, and jobs that it completes because they were dropped since
        self.unended: deque[tuple[int, bool, Sequence[Job]]] = deque()
        self.dropped: dict[Job, RequestState] = {}  # jobs that end in these states with their next token
        self.ticks = False  # whether the decode group is scheduled in this step
        self.on_end = on_end
        self.price = price or _no_price  # how long a step of some shape would take, s
        self.decode_piece = decode_piece
        self.fruitless_steps = 0  # since a step produced a token, or a job ended
        self.pending = False  # whether jobs come or leave before the next plan other than by the policy
        self.queue_key = queue_key
        self.admissions = 0
        self.chunks: dict[Job, int] = {}  # tokens scheduled in this step outside the group
        self.outside_tokens = 0  # known tokens of unfinished jobs outside the decode group
        self.done_jobs = self.done_tokens = 0  # whose part here was completed, and their output tokens

    @property
    def seats(self) -> int:
        """How many more jobs may run."""
        return self.limits.max_num_seqs - len(self.running)

    @property
    def in_flight(self) -> bool:
        """Whether a step runs right now."""
        return bool(self.unended)

    @property
    def free_blocks(self) -> int:
        """KV blocks that are free."""
        return self.kv.free_blocks

    def blocks_for(self, tokens: int) -> int:
        """KV blocks that ``tokens`` tokens fill."""
        return -(-tokens // self.block_size)

    def blocks_held(self, job: Job) -> int:
        """KV blocks that a job holds now, those of this step included."""
        if job.group is None or job.reserved:
            return job.blocks
        return self.blocks_for(job.computed_tokens + self.ticks)

    def fixed_blocks(self, job: Job) -> int:
        """KV blocks that a job will hold while it runs beside those that its tokens fill."""
        fixed = self.limits.fixed_kv
        return 0 if fixed is None else fixed.blocks(job.prompt_tokens + job.max_tokens, self.block_size)

    def take_fixed(self, job: Job) -> None:
        """Let a job that begins to run hold them."""
        job.fixed_blocks = self.fixed_blocks(job)
        self.kv.free_blocks -= job.fixed_blocks

    def give_fixed(self, job: Job) -> None:
        """Take them back from a job that runs no more."""
        self.kv.free_blocks += job.fixed_blocks
        job.fixed_blocks = 0

    def find_again(self) -> None:
        """Keep prefixes from now on, if that was left until the first request loses its blocks."""
        if self.late_cache is not None:
            begin, self.late_cache = self.late_cache, None
            begin(self)

    def enqueue(self, job: Job, at_head: bool = False) -> None:
        """Put a job into the queue, at its end unless the queue has an order."""
        job.move(WAITING)
        self._insert(job, at_head)

    def enqueue_with_kv(self, job: Job) -> None:
        """Queue a job whose KV has come: before those that have none, unless the queue has an order.

        It has been seen by the queue before, when blocks were set aside for it; vLLM puts it in front as well.
        """
        place = 0
        if self.queue_key is None:
            for other in self.waiting:
                if not other.waits_with_kv:
                    break
                place += 1
        job.move(WAITING)
        if self.queue_key is None:
            self.waiting.insert(place, job)
        else:
            self._insert(job, at_head=False)

    def _insert(self, job: Job, at_head: bool) -> None:
        key = self.queue_key
        if key is not None:
            find = bisect_left if at_head else bisect_right
            self.waiting.insert(find(self.waiting, key(job), key=key), job)
        elif at_head:
            self.waiting.appendleft(job)
        else:
            self.waiting.append(job)

    def stop_running(self, job: Job) -> None:
        """Take a job off the running ones, and out of this step if it is in it; keep its blocks."""
        if job not in self.running:
            raise ValueError(f"{job} is not running")
        if job.group is not None:
            if self.ticks:
                self.unschedule_decode(job)
            blocks = self.blocks_held(job)
            self.group.leave(job)
            job.blocks = blocks
            self.outside_tokens += job.known_tokens
        else:
            self.partial.pop(job, None)
            tokens = self.chunks.pop(job, 0)
            if tokens:
                self.shape.count(tokens, job.computed, job.decodes, -1)
                self.token_budget += tokens
        if self.lanes is not None:
            self.lanes.forget(job)
        del self.running[job]
        self.give_fixed(job)
        self.changed = True

    def unschedule_decode(self, job: Job) -> None:
        """Take a job that decodes out of this step, whose decodes are scheduled."""
        self.token_budget += 1
        self.shape.count(1, job.computed_tokens, True, -1)

    def decode_unseen_ends(self) -> None:
        """Compute a token more of each answer whose last one is in flight and is a stop token; no client gets it.

        Until the step in flight has ended the engine cannot know. Unlike vLLM's, the token takes no KV block.
        """
        none_ended = len(self.running) == self.group.size + len(self.partial)
        for job in () if none_ended else self.running:
            ended = job.completing and job.generated >= job.output_tokens
            if ended and (tokens := min(self.unseen_tokens(job), self.token_budget)) > 0:
                self.token_budget -= tokens
                self.shape.count(1, job.computed, True, 1)
                self.shape.draft_tokens += tokens - 1

    def unseen_tokens(self, job: Job) -> int:
        """Return how many tokens of a job are computed that its last one in flight has made useless."""
        return int(job.output_tokens < job.max_tokens)

    def lose_cache(self, job: Job, for_request: int, blocks_lacked: int) -> None:
        """Give a job's blocks back: what it had computed is computed again later.

        The cause is recorded with it, as ``simulator.replica.shortage`` has it.
        """
        self.kv.release(job)
        self.records.preemptions.extend((self.step, job.id, job.computed, for_request, blocks_lacked))
        job.lose_cache()
        job.recomputes = self.recomputes_as_prefill and job.generated > 0
        job.preemptions += 1

    def seat(self, job: Job) -> None:
        """Let a job decode whose KV came from elsewhere."""
        job.move(RUNNING)
        self.running[job] = None
        self.take_fixed(job)  # where none is free the next plan preempts
        job.admission = self.admissions
        self.admissions += 1
        self.outside_tokens -= job.known_tokens
        self.group.join(job)
        self.joined.append(job)
        if self.cache is not None:
            self.cache.seated(job)

    def token_in_flight(self, job: Job) -> bool:
        """Whether a job that runs gets a token from the step that was planned last, and has not ended."""
        if not self.unended:
            return False
        group = job.group
        decoded = self.unended[-1][1] and group is not None and job.joined_tick < group.tick
        return decoded or self.records.prompt_end(job.id, self.step - 1) is not None

    def lose_token(self, job: Job) -> None:
        """Take back the token that a job, which has just stopped running, was to get from the step in flight."""
        if not self.unended:
            return
        completing, records, in_flight = job.completing, self.records, (job.id, self.step - 1)
        if not (self.unended[-1][1] and self.group.take_back(job)) and not records.take_back(*in_flight):
            return
        job.generated -= 1
        self.outside_tokens += job.known_tokens if completing else -1

    def end_with_next_token(self, job: Job, state: RequestState) -> None:
        """Let a running job end in a state with the token that it gets next, which may be in flight."""
        if job in self.dropped:
            return
        self.dropped[job] = state
        if job.completing:
            return
        group = job.group
        if self.token_in_flight(job):
            assert group is not None
            group.leave(job)
            job.target_tokens = job.generated
            blocks, ticks, dropped = self.unended[-1]
            self.unended[-1] = blocks, ticks, [*dropped, job]
        elif group is None:
            job.target_tokens = job.generated + 1
        else:
            group.retarget(job, job.generated_tokens + 1)

    def end(self, job: Job, state: RequestState, time_s: float) -> None:
        """Record the final state of a job that is in no queue any more."""
        self.outside_tokens -= job.known_tokens
        self.record_end(job, state, time_s)
        self.forget(job)

    def record_end(self, job: Job, state: RequestState, time_s: float) -> None:
        """Record the final state of a job whose tokens are counted nowhere any more."""
        self.fruitless_steps = 0  # steps spent on it were none without an end
        state = self.dropped.pop(job, state)
        job.move(ENDED)
        self.records.ended.extend((job.id, state, time_s))
        if self.on_end is not None:
            self.on_end(job, state, time_s)

    def forget(self, job: Job) -> None:
        """A job has left for good."""
        if self.cache is not None:
            self.cache.forget(job)


def _no_price(shape: StepShape) -> float:
    raise ValueError("this engine belongs to no replica, so nothing is known of its step times")
