"""Early rejection: refuse at arrival a request that would get its first token too late."""

import random
from dataclasses import dataclass

from simulator.policy import Job, ReplicaView


@dataclass(frozen=True)
class EarlyReject:
    """Take a request only if its first token is predicted within ``ttft_s``, and its other tokens every ``tbt_s``.

    The prediction counts the prompts ahead and the wait for a seat and KV blocks; the load of the decodes is that of
    all who are here. Nothing is computed for those who would miss a bound anyway, and those behind them wait less.
    Source: Qin et al., "Mooncake", arXiv 2407.00079, section 7 (early rejection, based on prediction).
    """

    ttft_s: float = 5.0  # latest predicted first token, s after arrival
    tbt_s: float = 0.0  # longest predicted time between tokens, s; 0: not looked at

    def admit(self, job: Job, replica: ReplicaView, now_s: float, draw: random.Random) -> bool:
        """Whether its tokens are predicted in time."""
        if now_s - job.arrival_s + replica.predicted_ttft_s(job) > self.ttft_s:
            return False
        return not self.tbt_s or replica.predicted_tbt_s(job) <= self.tbt_s
