"""Cascade: the cheapest model first, a dearer one where a judge turns its answer down."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from simulator.policy import Job, ReplicaView, check_share


@dataclass
class Cascade:
    """Ask models from cheap to dear until a judge takes the answer for good; the reader waits for all of them.

    Of the replicas of a model, the one with the fewest outstanding tokens. Each answer is computed to its end before it
    is judged, and what is turned down reaches no reader. The judge takes no time. Source: Hu et al., "RouterBench",
    arXiv 2403.12031, cascading routers; there the price of waiting is not measured.
    """

    judge_error: float = 0.0  # how often the judge is wrong about an answer; 0: never
    most_calls: int = 0  # the answer of the last one is taken as it is; 0: as many as there are models

    cascades = True
    weighs_quality = True

    def __post_init__(self) -> None:
        """Check the parameters; ValueError for a share that is none."""
        check_share("judge_error", self.judge_error)

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the least loaded replica of the cheapest model that was not asked yet."""
        keys = [(each.offer.usd_per_request, each.outstanding_tokens) for each in replicas]
        return keys.index(min(keys))
