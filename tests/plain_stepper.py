"""A slow, obvious simulator of one replica, to hold the fast engine against.

Every step looks at every job; no sums are kept, and the policies are written again from their published rules.
"""

from dataclasses import dataclass, field

from simulator.replica.cost import StepShape
from tests.compiled import SHAPE


@dataclass(eq=False)
class PlainJob:
    id: int
    arrival: float
    prompt: int
    output: int
    max_tokens: int
    computed: int = 0
    blocks: int = 0
    reserved: bool = False
    token_times: list[float] = field(default_factory=list)
    token_steps: list[int] = field(default_factory=list)
    preemptions: int = 0
    in_flight: int = 0  # tokens sampled by steps that have not ended
    state: str = "unfinished"

    @property
    def known(self) -> int:
        return self.prompt + len(self.token_times) + self.in_flight

    @property
    def last_token_in_flight(self) -> bool:
        return self.in_flight > 0 and self.computed + 2 - self.in_flight >= self.prompt + self.output

    @property
    def left(self) -> int:
        return self.known - self.computed


class PlainServer:
    """One replica; ``policy`` is the name of a method here."""

    def __init__(self, policy, options, cost, *, max_seqs, budget, blocks, block_size):
        self.policy = getattr(self, policy)
        self.options = options
        self.cost = cost
        self.max_seqs, self.budget, self.total, self.block_size = max_seqs, budget, blocks, block_size
        self.free = blocks
        self.waiting: list[PlainJob] = []
        self.running: list[PlainJob] = []
        self.scheduled: dict[PlainJob, int] = {}
        self.preempted: list[PlainJob] = []
        self.failed: list[PlainJob] = []
        self.steps: list[tuple] = []

    def ceil(self, tokens):
        blocks = 0
        while blocks * self.block_size < tokens:
            blocks += 1
        return blocks

    def need(self, job, tokens):
        """Blocks that a job lacks for ``tokens`` more."""
        if job.reserved:
            return 0
        return max(0, self.ceil(job.computed + tokens) - job.blocks)

    def take(self, job, tokens):
        need = self.need(job, tokens)
        assert need <= self.free
        self.free -= need
        job.blocks += need
        self.scheduled[job] = tokens

    def preempt(self, job):
        self.running.remove(job)
        self.free += job.blocks
        job.blocks, job.computed, job.reserved = 0, 0, False
        job.preemptions += 1
        assert job not in self.scheduled
        self.waiting.insert(0, job)
        self.preempted.append(job)

    def budget_left(self):
        return self.budget - sum(self.scheduled.values())

    # The policies

    def vllm_v1(self):
        threshold = self.options.get("long_prefill_token_threshold", 0)
        chunked = self.options.get("enable_chunked_prefill", True)
        index = 0
        while index < len(self.running) and self.budget_left() > 0:
            job = self.running[index]
            if job.last_token_in_flight:
                index += 1
                continue
            tokens = job.left
            if 0 < threshold < tokens:
                tokens = threshold
            tokens = min(tokens, self.budget_left())
            while self.need(job, tokens) > self.free:
                victim = self.running[-1]
                self.preempt(victim)
                if victim is job:
                    return
            self.take(job, tokens)
            index += 1
        if self.preempted:
            return
        while self.waiting and self.budget_left() > 0 and len(self.running) < self.max_seqs:
            job = self.waiting[0]
            tokens = job.known
            if 0 < threshold < tokens:
                tokens = threshold
            if not chunked and job.known > self.budget_left():
                return
            tokens = min(tokens, self.budget_left())
            reserve = int(self.options.get("watermark", 0) * (self.total + 1)) if self.running else 0
            full_isl = self.options.get("scheduler_reserve_full_isl", True)
            if full_isl and self.ceil(job.known) + reserve > self.free:
                return
            if self.ceil(tokens) + reserve > self.free:
                return
            self.running.append(self.waiting.pop(0))
            self.take(job, tokens)

    def vllm_v0(self):
        keep = int(0.01 * self.total)
        while self.waiting:
            job = self.waiting[0]
            if job.known > self.budget or self.total - self.ceil(job.known) < keep:
                job.state = "failed"
                self.failed.append(self.waiting.pop(0))
                continue
            if self.free - self.ceil(job.known) < keep or job.known > self.budget_left():
                break
            if len(self.running) >= self.max_seqs:
                break
            self.running.append(self.waiting.pop(0))
            self.take(job, job.known)
        if self.scheduled:
            return
        queue = sorted(self.running, key=lambda job: job.arrival)
        while queue:
            job = queue.pop(0)
            preempted_itself = False
            while self.free < 1:
                if queue:
                    self.preempt(queue.pop())
                else:
                    self.preempt(job)
                    preempted_itself = True
                    break
            if not preempted_itself:
                self.take(job, 1)

    def whole_and_reserved(self):
        while self.waiting and len(self.running) < self.max_seqs:
            job = self.waiting[0]
            reserve = self.ceil(job.prompt + job.max_tokens)
            if job.known > self.budget_left() or reserve > self.free:
                return
            self.running.append(self.waiting.pop(0))
            self.free -= reserve
            job.blocks, job.reserved = reserve, True
            self.scheduled[job] = job.known

    def orca(self):
        for job in self.running:
            self.take(job, 1)
        self.whole_and_reserved()

    def static(self):
        """Every row of a batch is as long as the longest, to the end."""
        if not self.running:
            self.batch, self.decoded = [], 0
            for job in self.waiting:
                rows = [*self.batch, job]
                longest = max(each.known for each in rows)
                blocks = self.ceil(longest + max(each.max_tokens for each in rows))
                if len(rows) > min(self.max_seqs, self.budget) or (
                    self.batch and len(rows) * blocks > self.free
                ):
                    break
                self.batch, self.longest, self.row_blocks = rows, longest, blocks
        padding = self.padding
        for job in [job for job in self.batch if job in self.waiting]:
            if self.longest > self.budget_left() - padding.prefill_tokens or self.row_blocks > self.free:
                break
            self.waiting.remove(job)
            self.running.append(job)
            self.free -= self.row_blocks
            job.blocks, job.reserved = self.row_blocks, True
            self.scheduled[job] = job.known
            for position in range(job.known, self.longest):
                padding.prefill_tokens += 1
                padding.prefill_attention_pairs += position + 0.5
                padding.prefill_context_tokens += 1
        decoding = [job for job in self.running if not job.last_token_in_flight]
        if self.scheduled or not decoding:
            return
        self.decoded += 1
        for job in decoding:
            self.take(job, 1)
        padding.decode_seqs = len(self.batch) - len(decoding)
        context = len(self.batch) * (self.longest + self.decoded)
        padding.decode_context_tokens = context - sum(job.known for job in decoding)

    # One step

    def plan(self, now, earliest_start):
        """Plan a step; return its start, end and the jobs it samples a token for, or None for nothing."""
        self.scheduled, self.preempted, self.failed = {}, [], []
        self.padding = StepShape()
        self.policy()
        if not self.scheduled and not self.preempted and not self.failed:
            return None
        shape = StepShape()
        for job, tokens in self.scheduled.items():
            if job.known > job.prompt and tokens == 1 and job.left == 1:
                shape.decode_seqs += 1
                shape.decode_context_tokens += job.computed + 1
            else:
                shape.prefill_tokens += tokens
                shape.prefill_seqs += 1
                shape.prefill_attention_pairs += job.computed * tokens + tokens**2 / 2
                shape.prefill_context_tokens += job.computed + tokens
        for name in SHAPE:
            setattr(shape, name, getattr(shape, name) + getattr(self.padding, name))
        start = max(now, earliest_start)
        end = start + self.cost.step_s(shape) if self.scheduled else start
        assert sum(self.scheduled.values()) <= self.budget
        assert sum(job.blocks for job in self.running) == self.total - self.free
        self.steps.append(
            (
                start,
                end,
                shape.prefill_tokens,
                shape.prefill_seqs,
                shape.decode_seqs,
                shape.decode_context_tokens,
                len(self.running),
                len(self.waiting),
                self.total - self.free,
                len(self.preempted),
            )
        )
        sampling = []
        for job, tokens in self.scheduled.items():
            job.computed += tokens
            if job.computed == job.known:
                sampling.append(job)
        for job in sampling:
            job.in_flight += 1
        return end, len(self.steps) - 1, sampling

    def update(self, end, step, sampling):
        """Carry out what a step that has ended brought."""
        for job in sampling:
            job.in_flight -= 1
            job.token_times.append(end)
            job.token_steps.append(step)
            if len(job.token_times) == job.output:
                job.state = "completed"
                (self.running if job in self.running else self.waiting).remove(job)
                self.free += job.blocks
                job.blocks = 0


def plain_run(server, jobs, depth=1, horizon=float("inf")):
    """Serve ``jobs`` (in order of arrival) to the end or the horizon; return how many arrived.

    ``depth`` steps are planned before the first of them has ended. Stops early, like the engine, when
    nothing can be scheduled and nothing arrives any more.
    """
    now, last_end, following = 0.0, 0.0, 0
    queue = []
    while True:
        while following < len(jobs) and jobs[following].arrival <= now:
            server.waiting.append(jobs[following])
            following += 1
        batch = server.plan(now, last_end) if server.waiting or server.running else None
        if batch is not None:
            queue.append(batch)
            last_end = batch[0]
            if len(queue) < depth:
                continue
        if not queue:
            if following == len(jobs) or jobs[following].arrival >= horizon:
                return following
            now = jobs[following].arrival
            continue
        if queue[0][0] >= horizon:
            del server.steps[-len(queue) :]  # they do not end in time
            return sum(job.arrival < horizon for job in jobs)
        end, step, sampling = queue.pop(0)
        now = max(now, end)
        server.update(end, step, sampling)
