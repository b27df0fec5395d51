"""Shortest remaining processing time: the request predicted to be done first goes first."""

from collections.abc import Collection
from dataclasses import dataclass, field
from math import inf

from policies.scheduling._ranked import Ranked
from policies.scheduling._step_time import (
    Delayed,
    beyond_batch,
    decode_step_s,
    paying_batch,
    prompt_token_s,
    within_batch,
)
from simulator.policy import Job, Ledger


@dataclass
class Srpt(Ranked):
    """The fewest predicted tokens to go are in the step; a running request gives way to a waiting one with fewer.

    Fewer by more than what all would lose while it is computed again, counted in tokens; and one that has most of
    its predicted output stays. One that outlives its prediction is expected to end with the next token.
    Source: Schrage, Operations Research 16(3), 1968; for LLMs Shahout et al., arXiv 2410.01035 (TRAIL).
    """

    limit: float = 0.8  # share of its predicted output after which a request is preempted no more (TRAIL's C)
    batch_size: int = 0  # most requests in a step; 0: as many as bring the mean completion soonest
    prompt_weight: float = 0.0  # output tokens that computing a token of the prompt counts for
    margin_tokens: float = 0.0  # a running request gives way only to one shorter by more than this
    _lost_share: float = field(
        default=0.0, init=False
    )  # tokens that all lose for each that is computed again
    _soonest: float = field(default=0.0, init=False)  # tokens until the first of those who run is done
    _delayed: Delayed = field(default_factory=Delayed, init=False)

    def prepare(self, step: Ledger) -> None:
        """See what computing a token again costs all whom it delays, in steps of one token each."""
        if step.waiting and step.running:
            tokens_s = self._delayed.count(step) * prompt_token_s(step)
            self._lost_share = tokens_s / max(decode_step_s(step), 1e-9)
            self._soonest = min(map(self.rank, step.running))

    def plan(self, step: Ledger) -> None:
        """By what is to go."""
        super().plan(step)
        self._delayed.planned(step)

    def rank(self, job: Job) -> float:
        """Predicted tokens to go, at least one, and the prompt's weight; none for one that stays."""
        generated, predicted = job.generated_tokens, job.predicted_tokens
        if generated and generated >= int(self.limit * predicted):
            return 0.0
        to_go = predicted - generated if predicted > generated else 1
        return to_go + self.prompt_weight * (job.remaining_tokens - 1) if self.prompt_weight else to_go

    def margin(self, job: Job) -> float:
        """What the change of turn costs, and the parameter; none where a place becomes free sooner than that."""
        lost = self._lost_share * job.known_tokens
        return self.margin_tokens + lost if lost < self._soonest else inf

    def would_start(self, step: Ledger, job: Job, starting: list[Job]) -> bool:
        """Whether it would be in the batch."""
        return within_batch(self.rank, step, job, starting, self.batch_size or paying_batch(step))

    def sit_out(self, step: Ledger, starting: list[Job]) -> Collection[Job]:
        """Those with the most tokens to go, beyond the batch."""
        return beyond_batch(self.stays, self.rank, step, starting, self.batch_size or paying_batch(step))
