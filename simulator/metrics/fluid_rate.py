"""Fluid token generation rate: how fast all but a few readers could read (Etalon, arXiv 2407.07000, section 4.2)."""

from dataclasses import replace
from typing import Any

import numpy as np

from simulator.metrics._log import RequestLog
from simulator.metrics._measure import Measure
from simulator.metrics._options import Reading, Slo, UserModel
from simulator.metrics.fluidity import FLUID_ABOVE, fluidity_index

ON_REQUEST = True  # it looks at all tokens some dozen times: ``metrics.also`` asks for it
SHARE = 0.99  # of the requests that are to stay fluid
SLOWEST, FASTEST = 0.01, 10_000.0  # tokens per second between which it is looked for
WITHIN = 0.005  # relative

MEASURES = (
    Measure(
        "fluid_rate.tokens_per_s",
        "fluid token rate",
        "tokens/s",
        True,
        "fluid_rate",
        ("report", "compare"),
        least=0,
    ),
)


def measure(log: RequestLog, user: UserModel, slo: Slo) -> dict[str, Any]:
    """Return the highest speed of reading at which 99 % of ARRIVED requests keep a fluidity index above 0.9.

    Found by bisection to 0.5 %, every reader at the same speed; origin and allowance are the user model's. None where
    not even a reader of 0.01 tokens/s is served so. Of a pool of requests whose fluidity comes and goes with the
    speed, it is one speed at which the share falls below.
    """
    at_one_speed = replace(log, v_s_per_token=None, run=None)
    return {
        "share_of_arrived": SHARE,
        "fluidity_above": FLUID_ABOVE,
        "tokens_per_s": _highest(at_one_speed, user.reading) if log.n else None,
    }


def _highest(log: RequestLog, reading: Reading) -> float | None:
    def keeps(tokens_per_s: float) -> bool:
        index = fluidity_index(log, reading._replace(v_s_per_token=1 / tokens_per_s))
        return bool(np.mean(index > FLUID_ABOVE) >= SHARE)

    slow, fast = SLOWEST, FASTEST
    if not keeps(slow):
        return None
    if keeps(fast):
        return fast
    while fast > slow * (1 + WITHIN):
        middle = (slow * fast) ** 0.5
        slow, fast = (middle, fast) if keeps(middle) else (slow, middle)
    return float(slow)
