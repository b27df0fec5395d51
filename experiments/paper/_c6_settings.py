"""What C6 simulates, and what splitting changes there."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import getitem
from typing import Any, NamedTuple

import numpy as np

from experiments.paper._reproduce import RunSummary
from experiments.paper._scenarios import base_scenario
from simulator.metrics._options import UserModel
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval, paired

# Requests a second and GPU at which colocated GPUs begin to fall behind
FULL_LOAD_RPS = {"chat": 60.0, "256": 100.0, "1,024": 27.0, "long": 11.0, "4,096": 6.7, "12,000": 2.0}
LABELS = {"chat": "chat", "long": "arXiv"}
OUTPUT_TOKENS = 256
LOADS = (0.25, 0.5, 0.75, 1.0)
SPLITS = {2: ("1P1D",), 4: ("1P3D", "2P2D", "3P1D")}  # GPUs: prefill and decode replicas
LINKS = {"NVLink\n450": 450.0, "IB\n50": 50.0, "100 GbE\n12.5": 12.5, "10 GbE\n1.25": 1.25}  # GB/s
LINK_TRAFFIC = ("chat", "4,096", "12,000")
LINK_LOAD = 0.5
TRIM = {"run.trim_warmup": 0.1, "run.trim_cooldown": 0.1}
MATERIAL = 0.001  # share of the tokens below which a difference does not count
READERS = {  # the first one decides
    "V = 0.05 s": UserModel(),
    "V = 0.02 s": UserModel(v_s_per_token=0.02),
    "from first token": UserModel(origin="first_token"),
}
COLOCATED = "colocated"
TAIL_TBT_S = ("latency", "tbt_s", "p99")  # where a summary has the p99 of all gaps between tokens
IDLE_S = ("idle_latency", "idle_latency_s", "mean")
GOODPUT = ("smooth_goodput", "smooth_goodput_tokens_per_s")


class LoadSetting(NamedTuple):
    """Which traffic at which load on how many GPUs."""

    traffic: str
    load: float
    gpus: int


Found = Mapping[tuple[LoadSetting, str], Sequence[RunSummary]]  # of a setting and cluster, one summary a seed


class Comparison(NamedTuple):
    """What splitting changes in a setting: paired differences, split less colocated."""

    setting: LoadSetting
    split: str
    tbt_p99_s: Interval
    goodput: Interval  # smooth goodput, as a share of the tokens delivered in colocation

    @property
    def gains(self) -> bool:
        """Whether smooth goodput is surely and materially better."""
        return self.goodput.above_zero and self.goodput.mean >= MATERIAL

    @property
    def loses(self) -> bool:
        """Whether smooth goodput is surely and materially worse."""
        return self.goodput.below_zero and self.goodput.mean <= -MATERIAL


def scenario(
    setting: LoadSetting, cluster: str, seed: int, span_s: float, link_gb_s: float = 50.0
) -> Scenario:
    """Return one simulation: ``cluster`` is ``colocated`` or a split such as ``1P3D``."""
    traffic, load, gpus = setting
    rate_rps = FULL_LOAD_RPS[traffic] * load * gpus
    overrides: dict[str, Any] = {"policy.routing": "least_loaded"} | TRIM
    if cluster == COLOCATED:
        overrides["cluster.replicas"] = gpus
    else:
        overrides["cluster.prefill.replicas"] = int(cluster[0])
        overrides["cluster.decode.replicas"] = int(cluster[2])
        overrides["cluster.link.bandwidth_gb_s"] = link_gb_s
    if traffic not in LABELS:
        overrides["workload.lengths"] = None
        overrides["workload.prompt_tokens"] = int(traffic.replace(",", ""))
        overrides["workload.output_tokens"] = OUTPUT_TOKENS
    return base_scenario(
        traffic="long" if traffic == "long" else "chat",
        rate_rps=rate_rps,
        requests=max(200, min(3000, int(rate_rps * span_s))),
        seed=seed,
        overrides=overrides,
    )


def compare(
    setting: LoadSetting, split: str, apart: Sequence[RunSummary], together: Sequence[RunSummary]
) -> Comparison:
    """Compare the summaries of a split cluster with those of the colocated one, seed by seed."""
    tokens = float(np.mean(values(together, "throughput", "output_tokens_per_s")))
    tbt_p99_s = paired(values(apart, *TAIL_TBT_S), values(together, *TAIL_TBT_S))
    goodput = paired(*([value / tokens for value in values(side, *GOODPUT)] for side in (apart, together)))
    return Comparison(setting, split, tbt_p99_s, goodput)


def values(found: Iterable[RunSummary], *keys: str) -> list[float]:
    """Return one number of each summary, one value a seed."""
    return [float(reduce(getitem, keys, each)) for each in found]  # type: ignore[arg-type]
