"""The settings of C7, and what eager policies change there."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np

from experiments.paper._reproduce import RunSummary
from experiments.paper._scenarios import Setting
from simulator.stats import Interval, paired

TRIM = {"run.trim_warmup": 0.1, "run.trim_cooldown": 0.1}
SMALL = {"engine.max_model_len": 16000}  # so that the longest request fits into little memory
MATERIAL = 0.005  # share of the tokens: a gain that would be worth the moves
SLOW_REPLICA = [{"kind": "slow", "replica": 0, "at_s": 4.0, "for_s": 12.0, "factor": 3.0}]
CLUSTER = {"cluster.replicas": 4, "cluster.link.kind": "ethernet", **TRIM}
MIGRATION_SETTINGS = (
    Setting("long prompts", "long", 40.0, 1500, CLUSTER),
    Setting("short memory", "azure", 44.0, 1500, {**CLUSTER, **SMALL, "engine.num_gpu_blocks": 3000}),
    Setting("a slow replica", "azure", 40.0, 1500, {**CLUSTER, "cluster.faults.events": SLOW_REPLICA}),
)
MOVERS: dict[str, dict[str, Any]] = {
    "none": {"policy.migration": "none"},
    "llumnix": {"policy.migration": "llumnix"},
    "token_slack": {"policy.migration": "token_slack"},
    "tbt_chasing, 50 ms": {"policy.migration": {"name": "tbt_chasing", "tbt_s": 0.05}},
    "tbt_chasing, 20 ms": {"policy.migration": {"name": "tbt_chasing", "tbt_s": 0.02}},
}
MIGRATION_CASES = (("tbt_chasing, 50 ms", "token_slack"), ("tbt_chasing, 20 ms", "token_slack"))
ONE = {**TRIM, **SMALL, "workload.predictor": "perfect"}
PREEMPTION_SETTINGS = (
    Setting("chat", "chat", 45.0, 1000, {**ONE, "engine.num_gpu_blocks": 2200}),
    Setting("Azure conversations", "azure", 14.0, 700, {**ONE, "engine.num_gpu_blocks": 3000}),
)
PREEMPTERS: dict[str, dict[str, Any]] = {
    "vllm_v1": {"policy.scheduling": "vllm_v1"},
    "smooth": {"policy.scheduling": "smooth"},
    "sjf": {"policy.scheduling": "sjf"},
    "srpt": {"policy.scheduling": "srpt"},
    "andes": {"policy.scheduling": "andes"},
    "edf, 1 s": {"policy.scheduling": {"name": "edf", "margin_s": 1.0}},
    "edf, 5 s": {"policy.scheduling": {"name": "edf", "margin_s": 5.0}},
}
PREEMPTION_CASES = (("srpt", "sjf"), ("srpt", "smooth"), ("andes", "smooth"), ("edf, 1 s", "smooth"))


class Case(NamedTuple):
    """An eager policy less a reserved one: paired differences over seeds."""

    kind: str  # migrations or preemptions
    setting: str
    eager: str
    reserved: str
    more: Interval  # moves or preemptions in a run
    idle_s: Interval  # mean user idle latency
    goodput: Interval  # smooth goodput, as a share of the tokens that the reserved policy delivered

    @property
    def finding(self) -> Literal["needless", "useful", "undecided", "no more"]:
        """What the intervals say; see the docstring of ``c7_harmful_moves``."""
        if not self.more.above_zero:
            return "no more"
        if self.idle_s.below_zero or (self.goodput.above_zero and self.goodput.mean >= MATERIAL):
            return "useful"
        return "needless" if self.goodput.high < MATERIAL else "undecided"


def compare(
    kind: str,
    setting: str,
    names: tuple[str, str],
    eager: Sequence[RunSummary],
    reserved: Sequence[RunSummary],
) -> Case:
    """Compare the summaries of two policies, seed by seed."""
    tokens = np.mean([each["throughput"]["output_tokens_per_s"] for each in reserved])
    goodput = [
        [each["smooth_goodput"]["smooth_goodput_tokens_per_s"] / tokens for each in side]
        for side in (eager, reserved)
    ]
    return Case(
        kind,
        setting,
        *names,
        paired(counts(kind, eager), counts(kind, reserved)),
        paired(idle_s(eager), idle_s(reserved)),
        paired(*goodput),
    )


def counts(kind: str, found: Sequence[RunSummary]) -> list[float]:
    """Return how many moves or preemptions there were, one value a seed."""
    return [float(each["engine"].get(kind, 0)) for each in found]


def idle_s(found: Sequence[RunSummary]) -> list[float]:
    """Return the mean user idle latency, one value a seed."""
    return [float(each["idle_latency"]["idle_latency_s"]["mean"]) for each in found]


Found = Mapping[tuple[str, str], Sequence[RunSummary]]  # of a setting and a policy


def cases_of(moved: Found, preempted: Found) -> list[Case]:
    """Compare all pairs of policies in all settings."""
    return [
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
