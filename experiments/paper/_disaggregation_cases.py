"""In what triggers of moves and preemptions are compared, and what chasing TBT changes against following d_i."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np

from experiments.paper._protocol import PROTOCOL
from experiments.paper._reproduce import RunSummary
from simulator.metrics._options import UserModel
from simulator.scenario.scenario import Scenario
from simulator.stats import signs

Trigger = Literal["none", "TBT", "d_i"]
Mechanism = Literal["recompute", "swap", "migration"]
TRIGGERS: tuple[Trigger, ...] = ("none", "TBT", "d_i")
MECHANISMS: tuple[Mechanism, ...] = ("recompute", "swap", "migration")
_PREEMPTIVE = {"none": "memory", "TBT": "tbt", "d_i": "due"}  # triggers of the scheduler
_MIGRATING = {"none": "none", "TBT": "tbt_chasing", "d_i": "token_slack"}


class ClusterSetting(NamedTuple):
    """Which cluster serves what, by the protocol's names; and how requests can move."""

    model: str
    traffic: str
    layout: str
    state: str
    mechanism: Mechanism


Found = Mapping[tuple[ClusterSetting, Trigger], Sequence[RunSummary]]  # one summary a seed


class Case(NamedTuple):
    """The trigger that chases TBT less the one that follows d_i in a setting: paired differences, one value a seed."""

    setting: ClusterSetting
    detrimental: list[float]  # moves, in a run
    goodput: list[
        float
    ]  # smooth goodput, as a share of the tokens delivered under the trigger that follows d_i
    tbt_p99_s: list[float]  # of all gaps
    tpot_s: list[float]  # mean
    idle_s: list[float]  # mean user idle latency
    pauses_idle_s: list[float]  # what the pauses of moves added to it
    more: bool = False  # detrimental moves; these five as ``decided`` finds them among all cases
    fewer: bool = False
    goodput_tells: bool = False  # it is lower, and materially
    tbt_tells: bool = False  # it is longer
    tpot_tells: bool = False

    @property
    def hidden(self) -> bool:
        """Whether more moves are detrimental, smooth goodput says so, and neither TBT nor TPOT does."""
        return self.more and self.goodput_tells and not (self.tbt_tells or self.tpot_tells)


def settings(quick: bool) -> list[ClusterSetting]:
    """Return all settings; migration takes two decode replicas. ``quick``: one model, and half of the states."""
    ours = PROTOCOL.disaggregation
    models, states = ours.models, tuple(ours.states)
    if quick:
        models, states = ours.quick["models"], ours.quick["states"]
    every = map(ClusterSetting._make, product(models, ours.traffic, ours.layouts, states, MECHANISMS))
    return [each for each in every if each.mechanism != "migration" or _decode_replicas(each.layout) > 1]


def scenario(
    setting: ClusterSetting, trigger: Trigger, seed: int, user: UserModel, share: float = 1.0
) -> Scenario:
    """Return one run; ``user`` is what policies are told of readers, and ``share`` shortens the arrivals.

    It goes on to the last token, so that each pause has an end; rates are over the arrivals' time.
    """
    ours = PROTOCOL.disaggregation
    state = ours.states[setting.state]
    rate_rps = state.load * load_1_rps(setting)
    lasts_s = ours.arrivals_s * share
    prefill = int(setting.layout[0])
    moves = setting.mechanism == "migration"
    tbt_s = ours.tbt_s[setting.model]
    scheduling = {
        "name": "continuous",
        "preemption": "recompute" if moves else setting.mechanism,
        "trigger": "memory" if moves else _PREEMPTIVE[trigger],
        "tbt_s": tbt_s,
        "pause_s": ours.pause_s,
    }
    migration: dict[str, Any] = {"name": _MIGRATING[trigger] if moves else "none"}
    if migration["name"] == "tbt_chasing":
        migration["tbt_s"] = tbt_s
    faults = [
        {
            "kind": "slow",
            "replica": prefill,
            "at_s": ours.slow_from_share * lasts_s,
            "for_s": ours.slow_share * lasts_s,
            "factor": state.slow_factor,
        }
    ]
    return Scenario(
        seed=seed,
        hardware={"model": setting.model, "gpu": ours.gpu},
        engine=ours.engine,
        policy={"scheduling": scheduling, "migration": migration, "routing": "least_loaded"},
        cluster={
            **ours.cluster,
            "prefill": {"replicas": prefill},
            "decode": {"replicas": _decode_replicas(setting.layout)},
            "faults": {"events": faults if state.slow_factor > 1 else []},
        },
        workload={
            **ours.traffic[setting.traffic].workload,
            "rate_rps": rate_rps,
            "requests": round(rate_rps * lasts_s),
        },
        user=vars(user),
    )


def load_1_rps(setting: ClusterSetting) -> float:
    """Return what the pool that is first at its end can serve, requests/s."""
    stream = PROTOCOL.disaggregation.traffic[setting.traffic]
    prefill_rps = int(setting.layout[0]) * stream.prefill_rps[setting.model]
    return min(prefill_rps, _decode_replicas(setting.layout) * stream.decode_rps[setting.model])


def detrimental(found: Sequence[RunSummary]) -> list[float]:
    """Return how many moves were harmful or needless, one value a seed."""
    return [each["harmful"] + each["needless"] for each in found]


def values(found: Sequence[RunSummary], name: str) -> list[float]:
    """Return one number of each summary, one value a seed."""
    return [float(each[name]) for each in found]


def compare(setting: ClusterSetting, chasing: Sequence[RunSummary], following: Sequence[RunSummary]) -> Case:
    """Compare the two triggers, seed by seed."""
    tokens_per_s = float(np.mean(values(following, "tokens_per_s")))

    def change(name: str) -> list[float]:
        less: list[float] = np.subtract(values(chasing, name), values(following, name)).tolist()
        return less

    more: list[float] = np.subtract(detrimental(chasing), detrimental(following)).tolist()
    goodput = [each / tokens_per_s for each in change("goodput_tokens_per_s")]
    return Case(
        setting,
        more,
        goodput,
        tbt_p99_s=change("tbt_p99_s"),
        tpot_s=change("tpot_s"),
        idle_s=change("idle_s"),
        pauses_idle_s=change("pauses_idle_s"),
    )


def cases_of(found: Found) -> list[Case]:
    """Compare the triggers in all settings in which either of them moves anything, in any run."""
    both = [
        (setting, found[setting, "TBT"], found[setting, "d_i"]) for setting, each in found if each == "TBT"
    ]
    return [
        compare(setting, chasing, following)
        for setting, chasing, following in both
        if any(each["moves"] for each in (*chasing, *following))
    ]


def decided(cases: Sequence[Case]) -> list[Case]:
    """Return the cases with what is shown of each: two-sided tests of all four changes of all cases (Holm, 95 %)."""
    names = ("detrimental", "goodput", "tbt_p99_s", "tpot_s")
    sides = iter(signs([getattr(case, name) for name in names for case in cases]))
    more, goodput, tbt, tpot = ([next(sides) for _ in cases] for _ in names)
    return [
        case._replace(
            more=more[i] == 1,
            fewer=more[i] == -1,
            goodput_tells=goodput[i] == -1 and float(np.mean(case.goodput)) <= -PROTOCOL.margin,
            tbt_tells=tbt[i] == 1,
            tpot_tells=tpot[i] == 1,
        )
        for i, case in enumerate(cases)
    ]


def _decode_replicas(layout: str) -> int:
    return int(layout[2])
