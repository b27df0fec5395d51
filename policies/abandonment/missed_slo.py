"""Missed SLO: drop a request as soon as it has missed a bound, to free its place for others."""

import math
from dataclasses import dataclass

from simulator.policy import Job


@dataclass(frozen=True)
class MissedSlo:
    """A request is dropped at the first of its active bounds that passes without the token it asks for.

    It raises goodput as classic metrics count it, since a request that missed the SLO counts for nothing, and
    serves that user worse: the second flaw in Wang et al., arXiv 2410.14257.
    """

    ttft_s: float = 0.0  # drop who has no token so many seconds after arrival; 0: off
    e2e_s: float = 0.0  # drop who is not done so many seconds after arrival; 0: off
    token_deadlines: bool = False  # drop whose next token is late for its reader
    grace_s: float = 0.0  # how late a token may be, with token_deadlines, s

    def __post_init__(self) -> None:
        """Refuse to be chosen without a bound."""
        if not (self.ttft_s or self.e2e_s or self.token_deadlines):
            raise ValueError("missed_slo needs at least one of ttft_s, e2e_s, token_deadlines")
        if self.grace_s and not self.token_deadlines:
            raise ValueError("grace_s is for token_deadlines, which is off")

    def drop_s(self, job: Job, tokens: int) -> float:
        """Return the earliest of the bounds that are on."""
        first = job.arrival_s + self.ttft_s if self.ttft_s and not tokens else math.inf
        end = job.arrival_s + self.e2e_s if self.e2e_s else math.inf
        due = job.due_s_of(tokens + 1) + self.grace_s if self.token_deadlines else math.inf
        return min(first, end, due)
