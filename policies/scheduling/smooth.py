"""Smooth: each second of the GPU goes where it saves the readers most waiting."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from policies.scheduling._smooth_prompts import Prompts
from policies.scheduling._smooth_readers import Readers
from simulator.policy import Job, Ledger, Scheduler, StepShape

NEAR_S = 0.5  # a reader who runs out within this counts as one who waits


@dataclass
class Smooth(Scheduler):
    """Readers who have text can wait: prompts are computed, shortest first, until one would run out.

    Then all decode: beside prompts where that is cheaper than in steps of their own, and otherwise
    until all are a buffer ahead. When blocks run short, the job whose reader can wait longest is computed
    again later. Output lengths are not looked at. Ours: each choice by its marginal smooth goodput (Wang et al.,
    arXiv 2410.14257).
    """

    async_scheduling: bool = True  # off: plan each step with the results of the one before
    buffer_steps: float = 8.0  # how far steps of decodes alone bring readers ahead, in steps of one decode
    least_prompt_tokens: int = 256  # fewer are not worth a step of prompts alone
    queue_weight: float = 10.0  # how dear the time of a round of decodes is while prompts wait for it
    most_waiting: float = 0.5  # share of the readers that may be let wait for that
    reader_weight: float = 0.05  # of a reader with text in hand when time is saved, against one who waits
    spare_blocks: float = 0.25  # KV blocks for each running request that a new prompt leaves free
    keep_free: float = 0.1  # share of blocks left free by preempted requests whose readers can wait
    _readers: Readers = field(init=False)
    _lone_s: float = field(default=0.0, init=False)  # how long a step of one decode takes
    _start_s: float = field(default=0.0, init=False)  # when the step being planned will start
    _busy_until_s: float = field(default=0.0, init=False)  # when the step planned last ends
    _catching_up: bool = field(default=False, init=False)  # whether decodes go on until all are ahead
    _decoded: bool = field(default=False, init=False)  # whether the last step had decodes

    def decides_each_step(self) -> bool:
        """If asynchronous scheduling is switched off."""
        return not self.async_scheduling

    def native_engine(self) -> str:
        """The engine that it was written for."""
        return "vllm-0.24"

    def queue_key(self) -> Callable[[Job], Any]:
        """The job that needs least computed before its next token comes first."""
        return _work

    def plan(self, step: Ledger) -> None:
        """Choose between prompts, decodes and both; then note when whose token comes."""
        if not self._lone_s:
            self._lone_s = step.price(StepShape(decode_seqs=1, decode_context_tokens=1))
            self._readers = Readers(2 * self._lone_s)
        self._start_s = self._starts_s(step)
        self._readers.drop_leavers(step)
        prompts = Prompts(step, self._start_s, self.keep_free)
        tokens, decodes = self._choose(step, prompts)
        if decodes:
            self._decode(step)
        brought = prompts.compute(tokens, self.spare_blocks) if not step.preempted else []
        if not (step.shape.prefill_seqs or step.shape.decode_seqs or step.preempted):
            if step.group.size:
                self._decode(step)
            elif step.partial and len(step.partial) == len(step.running):  # begun prompts block each other
                step.preempt(next(reversed(step.partial)))
        self._note(step, brought)

    def _choose(self, step: Ledger, prompts: Prompts) -> tuple[int, bool]:
        """How many tokens of prompts to compute, and whether all decode."""
        group = step.group
        if not group.size or not prompts.line:
            return prompts.offered, group.size > 0
        decode_s, pace_s = self._decode_s(step), self._readers.quickest_s
        buffer_s = self.buffer_steps * self._lone_s
        bulk = max(1, prompts.fit(buffer_s, False))
        bulk_s = prompts.price(bulk, False)  # what prompts cost in steps of their own
        trial = prompts.fit(pace_s, True) or min(prompts.offered, self.least_prompt_tokens)
        mixes = prompts.price(trial, True) - decode_s < trial * bulk_s / bulk

        # Rounds of decodes cost less the rarer they are: a long queue is worth some readers' waiting,
        # even all readers' where a round costs hardly more than that of one.
        worth = self.queue_weight * prompts.count * self._lone_s / pace_s
        most = group.size * (self.most_waiting if decode_s > 2 * self._lone_s else 1)
        place = 0 if mixes else int(min(worth, most))
        slack_s = self._readers.need_s(place, group.tick) - self._start_s
        both = prompts.fit(slack_s, True) if mixes else 0
        if both:
            both_s, done = prompts.price(both, True), max(1, prompts.finished_by(both))
            saved_s = both * bulk_s / bulk - (both_s - decode_s)
            delay_s = both_s - prompts.price(both, False)
            near = self._readers.needing(self._start_s + NEAR_S, group.tick)
            losing = prompts.count - done + near + self.reader_weight * (group.size - near)
            if losing * saved_s > done * delay_s:
                return both, True
        if decode_s > pace_s and self._decoded:
            gain = self._lone_s / decode_s * pace_s / decode_s  # of a second's waiting, by a larger batch
            joining_s = prompts.finished_by(bulk) * self._readers.usual_tokens * decode_s
            if joining_s * gain > group.size * bulk_s:  # those who join gain more than the others lose
                return bulk, False
        alone = prompts.fit(slack_s - decode_s, False)
        if self._catching_up:
            self._catching_up = slack_s - decode_s < buffer_s
        else:
            self._catching_up = alone < min(prompts.offered, self.least_prompt_tokens)
        return (both, True) if self._catching_up else (alone, False)

    def _decode(self, step: Ledger) -> None:
        """All jobs decode, if need be after prompts and readers far ahead gave up their blocks."""
        while not step.decode_all():
            if step.partial:
                step.preempt(next(reversed(step.partial)))
            else:
                step.preempt(self._readers.take_most_ahead(step.group.tick))

    def _decode_s(self, step: Ledger) -> float:
        """Seconds of a step in which all jobs decode and nothing else happens."""
        group = step.group
        return step.price(StepShape(decode_seqs=group.size, decode_context_tokens=group.context_tokens()))

    def _starts_s(self, step: Ledger) -> float:
        """When the step will start: when the one in flight ends."""
        return max(step.now_s, self._busy_until_s)

    def _note(self, step: Ledger, brought: list[Job]) -> None:
        """Write down when the step ends, and who gets tokens then."""
        shape, group = step.shape, step.group
        end_s = self._start_s + (step.price(shape) if shape.decode_seqs or shape.prefill_seqs else 0.0)
        self._decoded = step.ticks
        if step.ticks:
            self._readers.tick(end_s, group.tick)
        for job in brought:
            self._readers.join(job, end_s, group.tick + step.ticks)
        self._busy_until_s = end_s


def _work(job: Job) -> tuple[int, float, int]:
    return job.known_tokens, job.arrival_s, job.id
