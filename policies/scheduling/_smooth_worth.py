"""What a second of waiting costs a reader now, for the policy ``smooth``."""

from simulator.policy import IdleCost, Job


class Worth:
    """The slope of ``alpha·f(l)`` over the seconds to come, in tokens a second.

    A hinge is a line that begins ``f_scale_s`` later, and so is a step until it has been taken: their readers have
    so much more time for all of their tokens.
    """

    def __init__(self, cost: IdleCost, ahead_s: float) -> None:
        """``ahead_s``: over how many seconds a slope is taken, as a square has none at 0."""
        self.cost = cost
        self.alike = cost.f in ("linear", "hinge")  # a second costs all of one pace the same
        self.at_first_token = cost.origin == "first_token"
        self.grace_s = cost.f_scale_s if cost.f in ("hinge", "step") else 0.0
        self._ahead_s = ahead_s

    def slope(self, idle_s: float, pace_s: float) -> float:
        """Tokens that a second of waiting costs a reader who has waited ``idle_s``, beyond the grace."""
        weight = self.cost.weight(pace_s)
        if self.alike:
            return weight
        if self.cost.f == "step":
            return weight if idle_s <= 0.0 else 0.0
        idle_s = max(idle_s, 0.0)
        later, now = self.cost.units(idle_s + self._ahead_s), self.cost.units(idle_s)
        return weight * (later - now) / self._ahead_s

    def waiting(self, job: Job, time_s: float) -> float:
        """The same of a request in the queue; one that had tokens counts as if its reader had not waited before."""
        if job.generated_tokens:
            return self.slope(0.0, job.pace_s)
        if self.at_first_token:
            return 0.0
        if self.alike:  # it does not matter how long it has waited
            return self.cost.weight(job.pace_s)
        return self.slope(time_s - job.due_s - self.grace_s, job.pace_s)
