"""What readers' waiting costs, as a policy that asks for it is told."""

import math
from dataclasses import dataclass
from typing import Literal

Penalty = Literal["linear", "quadratic", "exponential", "step", "hinge"]
Origin = Literal["arrival", "first_token"]

# Beyond this exponent the penalty stays level, so that no sum over requests can overflow: a run whose users
# wait 600 times the scale is worthless at any number of digits.
LARGEST_EXPONENT = 600.0
ON_TIME_WITHIN_S = 1e-9  # sums of float seconds carry rounding; a token this little late is on time


@dataclass(frozen=True)
class IdleCost:
    """The part of the user model that says what a second of idle latency costs (Wang et al., arXiv 2410.14257, Eq. 10).

    ``alpha`` is in tokens per unit of ``f``, None: 1/V of each reader; ``f_scale_s`` is the c of the last three f.
    With origin "first_token" a reader's clock starts when its first token comes.
    """

    alpha: float | None = None
    f: Penalty = "linear"  # l | l² | exp(l/c) − 1 | 1[l > c] | max(0, l − c), with l and c in seconds
    f_scale_s: float = 1.0
    origin: Origin = "arrival"

    def tokens(self, idle_s: float, pace_s: float) -> float:
        """Return ``alpha·f(l)``, tokens, for an idle latency in seconds of a reader with that V in seconds."""
        return self.weight(pace_s) * self.units(idle_s)

    def weight(self, pace_s: float) -> float:
        """Return alpha, tokens per unit of ``f``, of a reader with that V in seconds; 1 where neither is given."""
        if self.alpha is not None:
            return self.alpha
        return 1.0 / pace_s if pace_s else 1.0

    def units(self, idle_s: float) -> float:
        """Return ``f(l)`` for an idle latency in seconds."""
        if self.f == "linear":
            return idle_s
        if self.f == "quadratic":
            return idle_s * idle_s
        if self.f == "exponential":
            return math.expm1(min(idle_s / self.f_scale_s, LARGEST_EXPONENT))
        if self.f == "step":
            return float(idle_s > self.f_scale_s + ON_TIME_WITHIN_S)
        return max(idle_s - self.f_scale_s, 0.0)
