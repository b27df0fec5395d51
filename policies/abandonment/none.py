"""No abandonment: whoever was taken in is served to the end."""

import math

from simulator.policy import Job


class Never:
    """Drop nobody."""

    def drop_s(self, job: Job, tokens: int) -> float:
        """Return a time that never comes."""
        return math.inf
