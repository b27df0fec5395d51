"""SGLang's scheduler: prompts in batches of their own, a guess at what is still to come, a radix cache."""

import random
from dataclasses import dataclass, field
from typing import Literal

from policies.scheduling._sglang_decode import Decoding
from policies.scheduling._sglang_extend import Added, ExtendBatch
from policies.scheduling._sglang_order import Rule, sort_waiting
from policies.scheduling._sglang_priority import make_way
from policies.scheduling._sglang_running import RunningBatch
from simulator.policy import Ledger, Scheduler


@dataclass
class Sglang(Decoding, Scheduler):
    """As long as a waiting prompt is expected to fit to its end, a step extends prompts, and decodes pause.

    When KV runs out all the same, the requests with the fewest output tokens are retracted to the end of the queue.
    Most urgent is the lowest priority number. Source: SGLang 0.5.3, srt/managers/scheduler.py.
    """

    schedule_policy: Rule = "fcfs"  # order of the queue: fcfs, lpm, dfs-weight, lof or random
    schedule_conservativeness: float = 1.0  # scales the share of tokens to come that memory is kept for
    chunked_prefill_size: int | Literal["off"] | None = None  # of a step; unset: what a step may compute
    max_prefill_tokens: int = 16384  # in a step; only its first prompt may exceed this
    scheduler_recv_interval: int = (
        1  # steps that decode between two looks at what has come; after others it looks
    )
    disable_overlap_schedule: bool = False  # plan a step when the one before has ended, not when it begins
    disable_radix_cache: bool = False  # compute every prompt from its first token
    enable_mixed_chunk: bool = False  # let decodes join the steps that extend prompts
    enable_priority_scheduling: bool = False  # the urgent go first, and may retract others to get a seat
    priority_scheduling_preemption_threshold: int = 10  # by how much a priority must differ for that
    ignore_eos: bool = False  # all go on to max_tokens, and without the radix cache admission counts on it
    _draw: random.Random = field(default_factory=lambda: random.Random(0), init=False)

    def __post_init__(self) -> None:
        """Refuse orders that do not look at priorities, if these matter."""
        if self.enable_priority_scheduling and self.schedule_policy not in ("fcfs", "lof"):
            raise ValueError(f"enable_priority_scheduling goes with fcfs or lof, not {self.schedule_policy}")
        if self.scheduler_recv_interval < 1:
            raise ValueError(f"scheduler_recv_interval is at least 1; got {self.scheduler_recv_interval}")
        if self.scheduler_recv_interval > 1 and self.schedule_policy != "fcfs":
            raise ValueError(f"scheduler_recv_interval > 1 goes with fcfs only, not {self.schedule_policy}")
        self._batch = RunningBatch(self.schedule_conservativeness)

    def splits_prompts(self) -> bool:
        """Whether prompts are computed in chunks."""
        return self.chunked_prefill_size != "off"

    def decides_each_step(self) -> bool:
        """Without overlap: a batch is then planned when the one before has ended.

        With it ends are seen a batch late, until when the request decodes a token too many.
        """
        return self.disable_overlap_schedule

    def plans_unseen_ends(self) -> bool:
        """Only steps that decode compute it; those that extend prompts do not."""
        return True

    def native_engine(self) -> str:
        """SGLang itself."""
        return "sglang-0.5"

    def seats_what_comes(self) -> bool:
        """The decode side merges what has come into its running batch (0.5.3, disaggregation/decode.py)."""
        return True

    def prefix_cache(self) -> Literal["radix"] | None:
        """A radix tree, unless disabled."""
        return None if self.disable_radix_cache else "radix"

    def plan(self, step: Ledger) -> None:
        """Extend if possible, else decode."""
        batch = self._batch
        if self.scheduler_recv_interval > 1:
            self._hear(step, self.scheduler_recv_interval)
        self._merge(step)
        if not step.running and all(job.arrival_s == step.now_s for job in step.waiting):
            batch.jobs.clear()  # it was idle until now
            batch.reset_ratio()
            self._full = False
        if self._extend(step):
            self._in_flight = "extend"
        elif self._decode(step):
            self._in_flight = "decode"
        else:
            self._in_flight = ""
            if not (batch.jobs or step.in_flight):  # all had ended, which the idle engine sees now
                batch.reset_ratio()
                self._in_flight = "extend" if self._extend(step) else ""

    def _extend(self, step: Ledger) -> bool:
        """Put an extend batch together and run it; False if there is none."""
        prompt = next(iter(step.partial), None)  # the one that is in flight
        urgent, running = self.enable_priority_scheduling, self._batch
        self._full &= not urgent
        if prompt is None and (self._full or not step.waiting):
            return False
        seats = min(step.limits.max_num_seqs, step.limits.max_num_batched_tokens)
        if prompt is None and not urgent and len(running.jobs) >= seats:
            self._full = True
            return False
        sort_waiting(step, self.schedule_policy, urgent, self._draw)
        foresee = self.ignore_eos and self.disable_radix_cache
        batch = ExtendBatch(step, running, self.max_prefill_tokens, self.chunked_prefill_size, foresee)
        mixed = self.enable_mixed_chunk and self.splits_prompts() and bool(running.jobs)
        if mixed and not batch.mix_with(len(running.jobs)):
            return False
        self._mixed = mixed
        if prompt and not batch.go_on(prompt):
            return False
        for _ in range(len(step.waiting)):
            job = step.waiting[0]
            if job.arrival_s > self._heard_s:
                break
            self._full = self._full or len(batch.jobs) >= seats - len(running.jobs)
            if self._full and not (
                urgent and make_way(batch, job, running, self.priority_scheduling_preemption_threshold)
            ):
                break
            added = batch.add(job, alone=not step.running and not running.jobs)
            if added is not Added.MORE:
                self._full = self._full or added is Added.NO_TOKEN
                break
        self._extended = batch.jobs
        if mixed and batch.jobs:
            running.filter(step)
            self._extended += running.take_out()
        return bool(batch.jobs)
