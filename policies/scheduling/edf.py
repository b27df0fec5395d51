"""Earliest deadline first: whose reader needs the next token soonest goes first."""

from collections.abc import Collection
from dataclasses import dataclass, field
from math import inf

from policies.scheduling._ranked import Ranked
from policies.scheduling._step_time import Delayed, ahead_of_readers, prompt_token_s
from simulator.policy import Job, Ledger


@dataclass
class Edf(Ranked):
    """Requests by the deadline of their next token, d_i = S + V·g(i) after the arrival.

    A running request that is ahead of its reader gives way to one that waits and is due earlier, by more than all
    others lose while it is computed again. Where a decode would be late, those who are ahead get no token of the step.
    Source: Liu & Layland, JACM 20(1), 1973, section 7; token deadlines: Wang et al., arXiv 2410.14257.
    """

    margin_s: float = (
        5.0  # a running request gives way only to one due so much earlier, and with so much in hand
    )
    hold_margin_s: float = 0.0  # a decode sits a step out only if its token is due so long after the next one
    _now_s: float = field(default=0.0, init=False)
    _token_s: float = field(default=0.0, init=False)  # time for a token of a prompt, in a full step
    _others: int = field(default=0, init=False)  # who lose the time in which one is computed again
    _delayed: Delayed = field(default_factory=Delayed, init=False)

    def prepare(self, step: Ledger) -> None:
        """See what a change of turn would cost."""
        if step.waiting:
            self._token_s = self._token_s or prompt_token_s(step)
            self._now_s, self._others = step.now_s, self._delayed.count(step)

    def plan(self, step: Ledger) -> None:
        """By deadlines."""
        super().plan(step)
        self._delayed.planned(step)

    def rank(self, job: Job) -> float:
        """When the next token is due."""
        return job.due_s

    def margin(self, job: Job) -> float:
        """As the parameter says, and what computing it again takes from the readers of all whom it delays."""
        again_s = self._token_s * job.known_tokens
        in_hand = job.due_s >= self._now_s + again_s + self.margin_s
        return self.margin_s + self._others * again_s if in_hand else inf

    def sit_out(self, step: Ledger, starting: list[Job]) -> Collection[Job]:
        """Those who are far enough ahead of their readers, while others would be late."""
        return ahead_of_readers(step, starting, self.rank, self.hold_margin_s)
