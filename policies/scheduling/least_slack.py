"""Least slack first: whose next token has the least time to spare, its own computation counted, goes first."""

from dataclasses import dataclass, field

from policies.scheduling._ranked import Ranked, prompt_token_s
from simulator.policy import Job, Ledger


@dataclass
class LeastSlack(Ranked):
    """Slack is the deadline of the next token less now less the time that its tokens need in full steps.

    A running request gives way if it could afford to be computed again and still has the larger slack.
    Source: Mok, "Fundamental design problems of distributed systems", MIT 1983.
    """

    margin_s: float = 1.0  # a running request gives way only to one with so much less slack
    _token_s: float = field(default=0.0, init=False)  # time for a token of a prompt, in a full step

    def prepare(self, step: Ledger) -> None:
        """Ask once what tokens cost; before that the queue was in order of deadlines."""
        if not self._token_s:
            self._token_s = prompt_token_s(step)
            step.sort_waiting(self.rank)

    def rank(self, job: Job) -> float:
        """The slack at time 0: now is the same for all."""
        return job.due_s - self._token_s * job.remaining_tokens

    def margin(self, job: Job) -> float:
        """What the change of turn costs it, and the parameter."""
        return self.margin_s + self._token_s * job.known_tokens
