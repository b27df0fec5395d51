"""No abandonment: a request that was admitted is served to the end."""

import math

from simulator.policy import Job


class Never:
    """Drop no request."""

    def drop_s(self, job: Job, tokens: int) -> float:
        """Return a time that never comes."""
        return math.inf
