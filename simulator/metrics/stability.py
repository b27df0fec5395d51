"""Was the run stable, or was its queue still growing? A mean over a growing queue says nothing."""

from typing import Any

import numpy as np

from simulator.arrays import Floats, median
from simulator.metrics._log import RequestLog
from simulator.metrics._options import Slo, UserModel
from simulator.replica.request import RequestState

_BLOCKS = 10
_FEWEST_REQUESTS = 100  # below this a trend cannot be told from luck
_RISING_PAIRS = 0.8  # share of block pairs in which the later block waited longer
_GROWTH = 3.0  # last block's wait over the first blocks' wait
_SLOPE = 0.05  # seconds of wait gained per second of arrivals: 5 % more work than capacity
_STARVED = 0.2  # share of arrived requests still without a token at the end


def measure(log: RequestLog, user: UserModel, slo: Slo) -> dict[str, Any]:
    """Return ``unstable`` (True only on strong evidence), the ``reason`` in words, and the evidence.

    Two signs, either of which is enough, from 100 requests on:

    * the wait for the first token grows through the run: over ten blocks in arrival order, block medians rise
      in at least 80 % of all pairs, the last is at least 3x the median of the first three, and a line through
      them gains at least 0.05 s per second of arrivals (a queue fed 5 % over its capacity). All three
      together, so that a burst, or a slow rise of a stable load, is not called unstable;
    * at least 20 % of the requests were unfinished without a single token at the end.

    In the first sign those starved requests are left out, since the end of the run cut their wait short; any
    other request without a token counts with the time it waited in vain. Reads no user model and no SLO.
    """
    starved = (log.state == RequestState.UNFINISHED) & (log.token_counts == 0)
    starved_share = float(starved.mean()) if log.n else 0.0
    wait_s = np.where(log.token_counts > 0, log.ttft_s, log.end_s - log.arrival_s)
    slope = _wait_growth(log.arrival_s[~starved], wait_s[~starved])
    reason = None
    if slope is not None:
        reason = (
            f"the wait for the first token kept growing, by {slope:.2f} s per second of arrivals: "
            "the load is above capacity, and every latency depends on the length of the run"
        )
    elif log.n >= _FEWEST_REQUESTS and starved_share >= _STARVED:
        reason = (
            f"{starved_share:.0%} of the requests had not received a token when the run ended: "
            "the load is above capacity, or the run is too short"
        )
    return {"unstable": reason is not None, "reason": reason, "starved_share_of_arrived": starved_share}


def _wait_growth(arrival_s: Floats, wait_s: Floats) -> float | None:
    """Seconds of wait gained per second of arrivals, or None when the wait does not clearly grow."""
    if len(wait_s) < _FEWEST_REQUESTS:
        return None
    blocks = np.array_split(np.arange(len(wait_s)), _BLOCKS)
    wait = np.array([median(wait_s[block]) for block in blocks])
    when = np.array([median(arrival_s[block]) for block in blocks])
    earlier, later = np.triu_indices(_BLOCKS, k=1)
    rising = float(np.mean(wait[later] > wait[earlier]))
    if rising < _RISING_PAIRS or wait[-1] < _GROWTH * median(wait[:3]) or when[-1] <= when[0]:
        return None
    centred = when - when.mean()
    slope = float(centred @ (wait - wait.mean()) / (centred @ centred))
    return slope if slope >= _SLOPE else None
