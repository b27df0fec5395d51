"""What C6 simulates, and what splitting changes there."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import getitem
from typing import Any, NamedTuple

import numpy as np

from experiments.paper._protocol import PROTOCOL
from experiments.paper._reproduce import MATERIAL, RunSummary
from experiments.paper._scenarios import base_scenario
from simulator.metrics._options import UserModel
from simulator.scenario.scenario import Scenario
from simulator.stats import signs

SETTINGS = PROTOCOL.studies["C6"]
FULL_LOAD_RPS = SETTINGS["full_load_rps"]  # a GPU
LABELS = {"chat": "chat", "long": "arXiv"}
OUTPUT_TOKENS, LOADS = SETTINGS["output_tokens"], tuple(SETTINGS["loads"])
SPLITS = {2: ("1P1D",), 4: ("1P3D", "2P2D", "3P1D")}  # GPUs: prefill and decode replicas
LINKS: dict[str, dict[str, Any]] = {
    "NVLink\n450": {"cluster.link.kind": "nvlink"},
    "IB\n50": {"cluster.link.kind": "infiniband"},
    "100 GbE\n12.5": {"cluster.link.kind": "ethernet"},
    "10 GbE\n1.25": {"cluster.link.kind": "ethernet", "cluster.link.bandwidth_gb_s": 1.25},
}
LINK_TRAFFIC = ("chat", "4,096", "12,000")
LINK_LOAD = SETTINGS["link_load"]
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
    tbt_p99_s: list[float]  # one value a seed
    goodput: list[float]  # smooth goodput, as a share of the tokens delivered in colocation, one value a seed
    tbt_improves: bool = False  # these three as ``decided`` finds them among all settings
    gains: bool = False
    loses: bool = False


def decided(found: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons with what is shown: two-sided tests of all changes of TBT and smooth goodput (Holm, 95 %).

    Smooth goodput gains or loses if it is shown to change, and by its mean materially.
    """
    sides = signs([each.tbt_p99_s for each in found] + [each.goodput for each in found])
    return [
        each._replace(
            tbt_improves=tbt == -1,
            gains=goodput == 1 and float(np.mean(each.goodput)) >= MATERIAL,
            loses=goodput == -1 and float(np.mean(each.goodput)) <= -MATERIAL,
        )
        for each, tbt, goodput in zip(found, sides[: len(found)], sides[len(found) :], strict=True)
    ]


def scenario(setting: LoadSetting, cluster: str, seed: int, span_s: float, link: str = "IB\n50") -> Scenario:
    """Return one simulation: ``cluster`` is ``colocated`` or a split such as ``1P3D``."""
    traffic, load, gpus = setting
    rate_rps = FULL_LOAD_RPS[traffic] * load * gpus
    overrides: dict[str, Any] = {"policy.routing": "least_loaded"}
    if cluster == COLOCATED:
        overrides["cluster.replicas"] = gpus
    else:
        overrides["cluster.prefill.replicas"] = int(cluster[0])
        overrides["cluster.decode.replicas"] = int(cluster[2])
        overrides |= LINKS[link]
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
    tbt_p99_s = np.subtract(values(apart, *TAIL_TBT_S), values(together, *TAIL_TBT_S))
    goodput = np.subtract(values(apart, *GOODPUT), values(together, *GOODPUT)) / tokens
    return Comparison(setting, split, tbt_p99_s.tolist(), goodput.tolist())


def values(found: Iterable[RunSummary], *keys: str) -> list[float]:
    """Return one number of each summary, one value a seed."""
    return [float(reduce(getitem, keys, each)) for each in found]  # type: ignore[arg-type]
