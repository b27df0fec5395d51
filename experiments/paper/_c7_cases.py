"""The settings of C7, and what eager policies change there."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np

from experiments.paper._reproduce import MATERIAL, RunSummary
from experiments.paper._scenarios import Setting
from simulator.stats import holm, interval, p_above

SMALL = {"engine.max_model_len": 16000}  # so that the longest request fits into little memory
CLUSTER = {"cluster.replicas": 4, "cluster.link.kind": "ethernet"}


def _slow(replica: int) -> dict[str, Any]:
    """One replica is three times slower for 12 s."""
    fault = {"kind": "slow", "replica": replica, "at_s": 4.0, "for_s": 12.0, "factor": 3.0}
    return {"cluster.faults.events": [fault]}


def _pools(prefill: int, decode: int) -> dict[str, Any]:
    """Prefill and decode replicas; requests go round the decode replicas, as they do without pools."""
    return {
        "cluster.prefill.replicas": prefill,
        "cluster.decode.replicas": decode,
        "cluster.hand_off.routing": "round_robin",
        "cluster.link.kind": "ethernet",
    }


POOLS = {"2P2D": _pools(2, 2), "1P3D": _pools(1, 3)}
MIGRATION_SETTINGS = (
    Setting("long prompts", "long", 40.0, 1500, CLUSTER),
    Setting("short memory", "azure", 44.0, 1000, {**CLUSTER, **SMALL, "engine.num_gpu_blocks": 3000}),
    Setting("a slow replica", "azure", 40.0, 1000, {**CLUSTER, **_slow(0)}),
    *(Setting(name, "chat", 100.0, 2000, pools) for name, pools in POOLS.items()),
    *(
        Setting(f"{name}, one slow", "chat", 100.0, 2000, {**pools, **_slow(int(name[0]))})
        for name, pools in POOLS.items()
    ),
)
BY_TBT = ("tbt_chasing, 50 ms", "tbt_chasing, 25 ms")  # V and half of it
BY_DUE = "token_slack"
MOVERS: dict[str, dict[str, Any]] = {
    "none": {"policy.migration": "none"},
    "llumnix": {"policy.migration": "llumnix"},
    BY_DUE: {"policy.migration": "token_slack"},
    BY_TBT[0]: {"policy.migration": {"name": "tbt_chasing", "tbt_s": 0.05}},
    BY_TBT[1]: {"policy.migration": {"name": "tbt_chasing", "tbt_s": 0.025}},
}
MIGRATION_CASES = tuple(product(BY_TBT, ("none", BY_DUE)))
ONE = {**SMALL, "workload.predictor": "perfect"}
PREEMPTION_SETTINGS = (
    Setting("chat", "chat", 45.0, 1000, {**ONE, "engine.num_gpu_blocks": 2200}),
    Setting("Azure conversations", "azure", 14.0, 700, {**ONE, "engine.num_gpu_blocks": 3000}),
)
NEVER_S, NEVER_STEPS = 1e9, 10**9  # so much earlier, or so many steps from one choice to the next
PREEMPTERS: dict[str, dict[str, Any]] = {
    "vllm_v1": {"policy.scheduling": "vllm_v1"},
    "smooth": {"policy.scheduling": "smooth"},
    "sjf": {"policy.scheduling": "sjf"},
    "srpt": {"policy.scheduling": "srpt"},
    "andes, never": {"policy.scheduling": {"name": "andes", "interval": NEVER_STEPS}},
    "andes": {"policy.scheduling": "andes"},
    "edf, never": {"policy.scheduling": {"name": "edf", "margin_s": NEVER_S}},
    "edf, 1 s": {"policy.scheduling": {"name": "edf", "margin_s": 1.0}},
    "edf, 5 s": {"policy.scheduling": {"name": "edf", "margin_s": 5.0}},
}
PREEMPTION_CASES = (
    ("srpt", "sjf"),
    ("andes", "andes, never"),
    ("edf, 1 s", "edf, never"),
    ("edf, 5 s", "edf, never"),
)
Finding = Literal["needless", "useful", "undecided", "no more"]


class Case(NamedTuple):
    """An eager policy less a reserved one: paired differences, one value a seed."""

    kind: str  # migrations or preemptions
    setting: str
    eager: str
    reserved: str
    more: list[float]  # moves or preemptions in a run
    idle_s: list[float]  # mean user idle latency
    goodput: list[float]  # smooth goodput, as a share of the tokens that the reserved policy delivered
    finding: Finding = "undecided"  # as ``decided`` has it among all cases


def decided(cases: Sequence[Case]) -> list[Case]:
    """Return the cases with what is shown of each; see the docstring of ``c7_harmful_moves``.

    Findings are corrected for the number of all cases. That a policy moves more is no finding, but on what one is made
    (it is neither useful nor needless without), so each has its own interval for that.
    """
    found = [case._replace(finding="no more") for case in cases if not any(case.more)]  # nothing to test
    moving = [case for case in cases if any(case.more)]
    above = [p_above(sample) for case in moving for sample in (case.idle_s, case.goodput)]
    no_gain = [1 - p_above(case.goodput, MATERIAL) for case in moving]
    shown = holm([2 * min(p, 1 - p) for p in above] + no_gain)
    for i, case in enumerate(moving):
        finding: Finding = "needless" if shown[2 * len(moving) + i] else "undecided"
        idle_falls = shown[2 * i] and above[2 * i] > 0.5
        goodput_rises = shown[2 * i + 1] and above[2 * i + 1] < 0.5
        if idle_falls or (goodput_rises and np.mean(case.goodput) >= MATERIAL):
            finding = "useful"
        if not interval(case.more).above_zero:
            finding = "no more"
        found.append(case._replace(finding=finding))
    return found


def compare(
    kind: str,
    setting: str,
    names: tuple[str, str],
    eager: Sequence[RunSummary],
    reserved: Sequence[RunSummary],
) -> Case:
    """Compare the summaries of two policies, seed by seed."""
    tokens = np.mean([each["throughput"]["output_tokens_per_s"] for each in reserved])
    changes = [
        np.subtract(of(eager), of(reserved)) for of in (lambda some: counts(kind, some), idle_s, _goodput)
    ]
    more, idle, goodput = changes
    return Case(kind, setting, *names, more.tolist(), idle.tolist(), (goodput / tokens).tolist())


def counts(kind: str, found: Sequence[RunSummary]) -> list[float]:
    """Return how many moves or preemptions there were, one value a seed."""
    return [float(each["engine"].get(kind, 0)) for each in found]


def idle_s(found: Sequence[RunSummary]) -> list[float]:
    """Return the mean user idle latency, one value a seed."""
    return [float(each["idle_latency"]["idle_latency_s"]["mean"]) for each in found]


def _goodput(found: Sequence[RunSummary]) -> list[float]:
    return [float(each["smooth_goodput"]["smooth_goodput_tokens_per_s"]) for each in found]


Found = Mapping[tuple[str, str], Sequence[RunSummary]]  # of a setting and a policy


def cases_of(moved: Found, preempted: Found) -> list[Case]:
    """Compare all pairs of policies in all settings, and decide among all."""
    return decided(
        [
            compare(
                kind,
                setting.title,
                (eager, reserved),
                found[setting.title, eager],
                found[setting.title, reserved],
            )
            for kind, settings, pairs, found in (
                ("migrations", MIGRATION_SETTINGS, MIGRATION_CASES, moved),
                ("preemptions", PREEMPTION_SETTINGS, PREEMPTION_CASES, preempted),
            )
            for setting, (eager, reserved) in product(settings, pairs)
        ]
    )
