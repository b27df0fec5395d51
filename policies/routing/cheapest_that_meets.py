"""Cheapest that meets: the least dear replica whose predicted first token and token gap are in time."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from simulator.policy import Job, ReplicaView


@dataclass
class CheapestThatMeets:
    """Among replicas that meet the request's bounds, the cheapest by the hour, then the least loaded.

    Bounds are the request's own TTFT and TPOT where it was promised some, else the parameters. Where none meets them,
    the replica with the soonest first token. It knows prices and speeds, as the fleet's operator does.
    """

    ttft_s: float = 1.0  # where a request has no bound of its own
    tbt_s: float = 0.05  # likewise, of the gap between tokens; the default is a reader of 20 tokens/s

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the cheapest replica that meets the bounds."""
        request = job.request
        ttft_s = request.ttft_slo_s if request.ttft_slo_s == request.ttft_slo_s else self.ttft_s  # not NaN
        tbt_s = request.tpot_slo_s if request.tpot_slo_s == request.tpot_slo_s else self.tbt_s
        waits_s = [each.predicted_ttft_s(job) for each in replicas]
        meets = [
            place
            for place, each in enumerate(replicas)
            if waits_s[place] <= ttft_s and each.predicted_tbt_s(job) <= tbt_s
        ]
        if not meets:
            return waits_s.index(min(waits_s))
        return min(
            meets,
            key=lambda place: (replicas[place].offer.usd_per_hour, replicas[place].outstanding_tokens, place),
        )
