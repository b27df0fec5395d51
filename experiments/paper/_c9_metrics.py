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
from simulator.stats import Interval, paired, signs

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
    disagree: bool  # whether each is shown to prefer its own, among all comparisons of all settings


def compare(of_settings: Mapping[str, Scores]) -> list[Pair]:
    """Compare all pairs of metrics in all settings.

    Which two policies a pair of metrics is about is chosen by the data. So what is corrected for (Holm) are all
    comparisons of two policies by any metric in any setting, whichever of them are looked at then.
    """
    samples = {
        (setting, metric, a, b): np.subtract(of[a], of[b]).tolist()
        for setting, scores in of_settings.items()
        for metric, of in scores.items()
        for a, b in combinations(of, 2)
    }
    sides = dict(zip(samples, signs(list(samples.values())), strict=True))

    def prefers(setting: str, metric: str, a: str, b: str) -> bool:
        return sides.get((setting, metric, a, b)) == 1 or sides.get((setting, metric, b, a)) == -1

    pairs = []
    for setting, scores in of_settings.items():
        best = {metric: max(of, key=lambda name: float(np.mean(of[name]))) for metric, of in scores.items()}
        for one, two in combinations(scores, 2):
            a, b = best[one], best[two]
            by_one, by_two = paired(scores[one][a], scores[one][b]), paired(scores[two][b], scores[two][a])
            surely = prefers(setting, one, a, b) and prefers(setting, two, b, a)
            pairs.append(Pair(setting, one, two, a, b, by_one, by_two, surely))
    return pairs
