"""Least slack first: whose next token has the least time to spare, its own computation counted, goes first."""

from collections.abc import Collection
from dataclasses import dataclass, field
from math import inf

from policies.scheduling._ranked import Ranked
from policies.scheduling._step_time import Delayed, ahead_of_readers, prompt_token_s
from simulator.policy import Job, Ledger


@dataclass
class LeastSlack(Ranked):
    """Slack is the deadline of the next token less now less the time that its tokens need in full steps.

    A running request gives way if it could afford to be computed again and still has the larger slack, by more than
    all others lose meanwhile. Where a decode would be late, those with slack enough get no token of the step.
    Source: Mok, "Fundamental design problems of distributed systems", MIT 1983.
    """

    margin_s: float = (
        5.0  # a running request gives way only to one with so much less slack, and with so much itself
    )
    hold_margin_s: float = 0.0  # a decode sits a step out only with so much slack beyond the next one
    _now_s: float = field(default=0.0, init=False)
    _token_s: float = field(default=0.0, init=False)  # time for a token of a prompt, in a full step
    _others: int = field(default=0, init=False)  # who lose the time in which one is computed again
    _delayed: Delayed = field(default_factory=Delayed, init=False)

    def prepare(self, step: Ledger) -> None:
        """Ask once what tokens cost; before that the queue was in order of deadlines."""
        self._now_s, self._others = step.now_s, self._delayed.count(step)
        if not self._token_s:
            self._token_s = prompt_token_s(step)
            step.sort_waiting(self.rank)

    def plan(self, step: Ledger) -> None:
        """By slack."""
        super().plan(step)
        self._delayed.planned(step)

    def rank(self, job: Job) -> float:
        """The slack at time 0: now is the same for all."""
        return job.due_s - self._token_s * job.remaining_tokens

    def margin(self, job: Job) -> float:
        """As the parameter says, and what computing it again takes from all readers whom it delays, and itself."""
        again_s = self._token_s * job.known_tokens
        in_hand = job.due_s >= self._now_s + again_s + self.margin_s
        return self.margin_s + (1 + self._others) * again_s if in_hand else inf

    def sit_out(self, step: Ledger, starting: list[Job]) -> Collection[Job]:
        """Those with slack enough, while others would be late."""
        return ahead_of_readers(step, starting, self.rank, self.hold_margin_s)
