"""Token bucket: refuse what exceeds a steady rate of tokens and a burst."""

import random
from dataclasses import dataclass, field
from typing import Literal

from simulator.policy import Job, ReplicaView


@dataclass
class TokenBucket:
    """A bucket holds ``burst_tokens``, fills at ``rate_tokens_per_s``, and a request takes out its tokens.

    One that finds too few is refused and takes none; one larger than the burst always is. The bucket is
    one for the whole cluster, or one for each tenant. Source: Turner, "New Directions in Communications",
    1986; the limits on tokens per minute of public APIs.
    """

    rate_tokens_per_s: float = 10000.0  # at which a bucket fills
    burst_tokens: float = 100000.0  # that a bucket holds, full at the start
    count: Literal["prompt", "total"] = "total"  # prompt tokens, or with the predicted output
    per_tenant: bool = False  # a bucket for each tenant instead of one for all
    _level: dict[int, tuple[float, float]] = field(default_factory=dict, init=False)  # when, how many tokens

    def admit(self, job: Job, replica: ReplicaView, now_s: float, draw: random.Random) -> bool:
        """Whether the bucket holds what the request takes."""
        whose = job.tenant if self.per_tenant else 0
        wanted = job.prompt_tokens + (job.predicted_tokens if self.count == "total" else 0)
        then_s, level = self._level.get(whose, (now_s, self.burst_tokens))
        level = min(self.burst_tokens, level + self.rate_tokens_per_s * max(0.0, now_s - then_s))
        enough = wanted <= level
        self._level[whose] = now_s, level - wanted if enough else level
        return enough
