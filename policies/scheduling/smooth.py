"""Smooth: each second of the GPU goes where it saves the readers most waiting."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

from policies.scheduling._smooth_choice import NEAR_S, Choosing
from policies.scheduling._smooth_drafts import DraftReaders
from policies.scheduling._smooth_memory import compute, is_ample
from policies.scheduling._smooth_prompts import Prompts
from policies.scheduling._smooth_readers import Readers
from policies.scheduling._smooth_worth import Worth
from simulator.policy import IdleCost, Job, Ledger, Origin, Penalty, Scheduler, StepShape

MOST_AT_ONCE = 8  # requests that give their blocks up for one prompt
SORTED_EVERY_S = 0.1  # the queue, where what waiting costs changes with time


@dataclass
class Smooth(Choosing, Scheduler):
    """Readers who have text can wait: prompts are computed until one would run out, first what saves most waiting.

    Then all decode: beside prompts where that is cheaper than in steps of their own, and otherwise
    until all are a buffer ahead. A prompt is begun if the blocks last for outputs as they have been. When blocks run
    short all the same, the job whose reader can wait longest is computed again later. Output lengths are not looked
    at. Each reader's need follows its curve; how many need a token soon is judged by V alone. Ours: each choice by its
    marginal smooth goodput (Wang et al., arXiv 2410.14257).
    """

    async_scheduling: bool = True  # off: plan each step with the results of the one before
    alpha: float | None = None  # tokens per unit of f; unset: the scenario's, as the next three
    f: Penalty | None = None  # form of what waiting costs
    f_scale_s: float | None = None  # its scale, s
    origin: Origin | None = None  # when a reader's clock starts
    ahead_s: float = 0.3  # over how many seconds to come the slope of f is taken
    caution: float = 4.0  # standard deviations of the blocks to come that a new prompt leaves free
    spare_blocks: float = 0.25  # KV blocks for each running request that it leaves free in any case
    far_ahead_s: float = 30.0  # of text from which a reader gives its blocks up for a prompt that waits
    again_weight: float = 2.0  # of what computing again costs, against the waiting that it saves
    keep_free: float = 0.1  # share of blocks left free by preempted requests whose readers can wait
    _sorted_s: float = field(default=0.0, init=False)  # when the queue was sorted

    def __post_init__(self) -> None:
        """Take the parameters that were given; the others are told."""
        self.told(IdleCost())

    def told(self, readers: IdleCost) -> Self:
        """Take what was not given as a parameter from what readers' waiting costs."""
        given = {key: getattr(self, key) for key in ("alpha", "f", "f_scale_s", "origin")}
        cost = replace(readers, **{key: value for key, value in given.items() if value is not None})
        self._worth = Worth(cost, self.ahead_s)
        self._readers = Readers(self._worth)
        return self

    def decides_each_step(self) -> bool:
        """If asynchronous scheduling is switched off."""
        return not self.async_scheduling

    def native_engine(self) -> str:
        """The engine that it was written for."""
        return "vllm-0.24"

    def queue_key(self) -> Callable[[Job], Any]:
        """Who had tokens comes first, then the job that needs least computed for what its waiting costs."""
        return self._urgency

    def plan(self, step: Ledger) -> None:
        """Choose between prompts, decodes and both; then note when whose token comes."""
        if self._readers.lockstep != step.group.lockstep:
            self._readers = DraftReaders(self._worth)
        if not self._lone_s:
            self._lone_s = step.price(self._readers.shape(step, 1, 1))
        self._start_s = max(step.now_s, self._busy_until_s)  # when the step in flight ends
        self._readers.drop_leavers(step)
        if not self._worth.alike and step.waiting and self._start_s > self._sorted_s + SORTED_EVERY_S:
            self._sorted_s = self._start_s
            step.sort_waiting(self._urgency)
        prompts = Prompts(step, self._start_s, self.keep_free, self._worth, self._readers)
        outputs, caution = self._readers.outputs, None
        if not is_ample(step, prompts, outputs, self.spare_blocks):
            caution = 0.0 if step.waiting and self._gives_way(step, prompts) else self.caution
        tokens, decodes = self._choose(step, prompts)
        if decodes:
            self._decode(step)
        brought = (
            [] if step.preempted else compute(step, prompts, tokens, outputs, self.spare_blocks, caution)
        )
        if not (step.shape.prefill_seqs or step.shape.decode_seqs or step.preempted):
            if step.group.size:
                self._decode(step)
            elif step.partial and len(step.partial) == len(step.running):  # begun prompts block each other
                step.preempt(next(reversed(step.partial)))
        self._note(step, prompts, brought)

    def _urgency(self, job: Job) -> tuple[bool, float, float, int]:
        """Work by what a second of waiting costs. Who comes back holds blocks for less time than who begins."""
        cost = self._worth.waiting(job, self._start_s)
        return not job.generated_tokens, job.known_tokens / max(cost, 1e-9), job.arrival_s, job.id

    def _gives_way(self, step: Ledger, prompts: Prompts) -> bool:
        """Whether the reader furthest ahead can wait for less than the queue would; it does where blocks are short."""
        first, cheap, taken = prompts.first_waiting(), True, 0
        while cheap and first is not None and step.group.size > 1:
            job, need_s = self._readers.most_ahead(step.group.rounds)
            if need_s <= self._start_s + self.far_ahead_s:
                return False
            near, each = self._readers.needing(self._start_s + NEAR_S, step.group.rounds)
            again = StepShape()
            again.count(job.known_tokens, 0, False, 1)
            saved = self._worth.waiting(first, self._start_s) * (need_s - self._start_s)
            # Of each second a reader needs the share that a round takes of its pace.
            round_s = max(job.pace_s * self._readers.tokens_each, 1e-9)
            needing = max(near, step.group.size * min(1.0, self._decode_s(step) / round_s))
            lost = (prompts.cost() + needing * each) * step.price(again)
            cheap = saved > self.again_weight * lost
            needed = step.blocks_to_admit(first, first.known_tokens) + self.spare_blocks * len(step.running)
            fits = needed + step.blocks_opening <= step.free_blocks and step.seats > 0
            if not cheap or fits or taken == MOST_AT_ONCE:
                break
            step.preempt(self._readers.take_most_ahead(step.group.rounds), for_job=first)
            taken += 1
        return cheap and first is not None

    def _decode(self, step: Ledger) -> None:
        """All jobs decode, if need be after prompts and readers far ahead gave up their blocks."""
        if step.group.size > step.token_budget:  # answers that end with the step in flight have it
            return
        while not step.decode_all():
            if step.partial:
                step.preempt(next(reversed(step.partial)))
            else:
                step.preempt(self._readers.take_most_ahead(step.group.rounds))

    def _note(self, step: Ledger, prompts: Prompts, brought: list[Job]) -> None:
        """Write down when the step ends, and who gets tokens then."""
        shape, group, step_s = step.shape, step.group, 0.0
        if brought and len(brought) == len(prompts.line) == shape.prefill_seqs and group.lockstep:
            step_s = prompts.price(prompts.all_tokens, step.ticks)  # as was asked before
        elif shape.decode_seqs or shape.prefill_seqs:
            step_s = step.price(shape)
        self._busy_until_s = end_s = self._start_s + step_s
        if shape.prefill_seqs:
            # What ``_choose`` has priced, unless one was preempted since
            decode_s = self._decode_s(step) if step.preempted else self._decode_step_s
            self._credit_s = max(0.0, self._credit_s - step_s + (decode_s if step.ticks else 0.0))
        self._decoded = step.ticks
        if step.ticks:
            self._readers.tick((end_s,), group.rounds)
        for job in brought:
            self._readers.join(job, end_s, group.rounds + step.ticks)
