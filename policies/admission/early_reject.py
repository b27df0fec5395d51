"""Early rejection: refuse at arrival a request that would get its first token too late."""

import random
from dataclasses import dataclass

from simulator.policy import Job, ReplicaView


@dataclass(frozen=True)
class EarlyReject:
    """Take a request only if its first token is predicted within ``ttft_s`` of its arrival.

    Nothing is computed for those who would miss the bound anyway, and those behind them wait less.
    Source: Qin et al., "Mooncake", arXiv 2407.00079 (early rejection).
    """

    ttft_s: float = 5.0  # latest predicted first token, s after arrival

    def admit(self, job: Job, replica: ReplicaView, now_s: float, draw: random.Random) -> bool:
        """Whether the first token is predicted in time."""
        return now_s - job.arrival_s + replica.predicted_ttft_s(job) <= self.ttft_s
