"""The metrics of C9, and which of two policies either of two metrics prefers."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from simulator.arrays import Floats
from simulator.metrics._log import RequestLog
from simulator.metrics._options import Slo, UserModel
from simulator.metrics._reader import benefit_tokens
from simulator.metrics.fluidity import fluidity_index
from simulator.metrics.qoe import qoe
from simulator.stats import Interval, paired

Score = Callable[[RequestLog, UserModel], Floats]


class Metric(NamedTuple):
    """A number of a summary, the higher the better, and the same of each request where the figure needs it."""

    name: str
    keys: tuple[str, ...]
    slo: Slo | None = None
    of_each: Score | None = None


METRICS = (
    Metric(
        "smooth goodput", ("smooth_goodput", "smooth_goodput_tokens_per_s"), of_each=benefit_tokens
    ),  # tokens/s; of each request: tokens
    Metric("QoE", ("qoe", "qoe", "mean"), of_each=qoe),
    Metric("fluidity", ("fluidity", "fluidity_index", "mean"), of_each=fluidity_index),
    Metric("token SLO", ("token_slo", "attainment")),
    Metric("TTFT + TPOT", ("slo", "attainment_all"), Slo(ttft_s=1.0, tpot_s=0.05)),
    Metric("tail TBT", ("slo", "attainment_all"), Slo(tail_tbt_s=0.1)),
)
READINGS = tuple(dict.fromkeys(metric.slo for metric in METRICS))
Scores = Mapping[str, Mapping[str, Sequence[float]]]  # metric, policy: one value a seed


class Pair(NamedTuple):
    """Two metrics in a setting, the best policy by either, and by how much each prefers its own."""

    setting: str
    first: str  # metrics
    second: str
    first_best: str  # policies
    second_best: str
    by_first: Interval  # first metric: its best policy less the other's
    by_second: Interval

    @property
    def disagree(self) -> bool:
        """Whether each surely prefers its own."""
        return self.first_best != self.second_best and self.by_first.above_zero and self.by_second.above_zero


def compare(setting: str, scores: Scores) -> list[Pair]:
    """Compare all pairs of metrics."""
    best = {metric: max(of, key=lambda name: float(np.mean(of[name]))) for metric, of in scores.items()}
    return [
        Pair(
            setting,
            *(one, two, best[one], best[two]),
            paired(scores[one][best[one]], scores[one][best[two]]),
            paired(scores[two][best[two]], scores[two][best[one]]),
        )
        for one, two in combinations(scores, 2)
    ]
