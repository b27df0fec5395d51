"""Willingness to pay: the model with the most expected quality less its price."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from simulator.policy import Job, ReplicaView, expected_score


@dataclass
class WillingnessToPay:
    """Maximise the expected quality less the price over what a good answer is worth; of equals the least loaded.

    What is expected is seen through an estimate of the request's difficulty with noise, as a predictor by nearest
    neighbours has it: with 0 the difficulty is known, with a large error only the models' mean scores are. Source: Hu
    et al., "RouterBench", arXiv 2403.12031, predictive routers; the noise in place of an embedding is ours.
    """

    usd_per_good_answer: float = 0.001  # that a good answer is worth
    estimate_error: float = 0.0  # standard deviations of the difficulty; 0: it is known

    weighs_quality = True

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the least loaded replica of the model that is worth most."""
        error = self.estimate_error
        seen = job.request.difficulty + (draw.gauss(0.0, error) if error else 0.0)
        worth: dict[tuple[str, float], float] = {}
        for each in replicas:
            offer = each.offer
            key = offer.model, offer.usd_per_request
            if key not in worth:
                quality = expected_score(offer.quality or 0.0, seen, error)
                worth[key] = quality - offer.usd_per_request / self.usd_per_good_answer
        keys = [
            (-worth[each.offer.model, each.offer.usd_per_request], each.outstanding_tokens)
            for each in replicas
        ]
        return keys.index(min(keys))
