"""The verdicts on splitting prefill from decode and on disagreeing metrics, from made-up numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from experiments.paper import c6_disaggregation as c6
from experiments.paper import c9_metrics_disagree as c9
from experiments.paper._reproduce import Verdict
from simulator.scenario.scenario import Scenario

SEEDS = range(5)


def summary(goodput: float, tbt_s: float = 0.05, idle_s: float = 1.0, **engine: float) -> dict[str, Any]:
    """What the experiments read of a summary; 1000 tokens/s are delivered."""
    return {
        "latency": {"tbt_s": {"p99": tbt_s}},
        "idle_latency": {"idle_latency_s": {"mean": idle_s}},
        "smooth_goodput": {"smooth_goodput_tokens_per_s": goodput},
        "throughput": {"output_tokens_per_s": 1000.0},
        "engine": engine,
    }


def seeds(make: Callable[[float], dict[str, Any]]) -> list[dict[str, Any]]:
    """One summary a seed, each a little different."""
    return [make(0.001 * seed) for seed in SEEDS]


def split(tbt_s: float, goodput: float) -> c6.Comparison:
    """A split cluster that changes tail TBT and smooth goodput (of 900) by so much."""
    together = seeds(lambda x: summary(900 * (1 + x), 0.1 + x))
    apart = seeds(lambda x: summary((900 + goodput) * (1 + x), 0.1 + tbt_s + 1.01 * x))
    return c6.compare(c6.LoadSetting("chat", 0.5, 4), "2P2D", apart, together)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        ([split(-0.05, 20), split(-0.05, -100), split(-0.05, 0.0)], "reproduced"),
        ([split(-0.05, -20), split(-0.05, -100)], "partly reproduced"),
        ([split(-0.05, 0.0), split(-0.05, -100)], "partly reproduced"),
        ([split(-0.05, 20), split(-0.05, 100)], "not reproduced"),  # it pays everywhere
        ([split(0.05, 20), split(0.05, -100)], "not reproduced"),  # gaps are longer
        ([split(-0.05, 20), split(0.05, -100)], "not reproduced"),  # in half of the settings
    ],
)
def test_disaggregation_pays_in_part_of_the_settings(found: list[c6.Comparison], outcome: str) -> None:
    assert c6.judge(found).outcome == outcome


def changes(mean: float, spread: float) -> list[float]:
    return [mean + spread * each for each in (-1.0, 0.5, 0.0, -0.5, 1.0)]


def test_what_is_immaterial_or_unsure_is_no_gain() -> None:
    setting = c6.LoadSetting("chat", 0.5, 4)
    shorter = changes(-0.05, 0.001)
    immaterial = c6.Comparison(setting, "2P2D", shorter, changes(0.0005, 0.00001))
    unsure = c6.Comparison(setting, "2P2D", shorter, changes(0.05, 0.1))
    sure = c6.Comparison(setting, "2P2D", shorter, changes(0.05, 0.001))
    found = c6.decided([immaterial, unsure, sure])
    assert [(each.gains, each.loses) for each in found] == [(False, False)] * 2 + [(True, False)]
    assert all(each.tbt_improves for each in found)


def test_a_gain_that_chance_makes_of_many_settings_is_none() -> None:
    setting = c6.LoadSetting("chat", 0.5, 4)
    likely = c6.Comparison(setting, "2P2D", changes(0.0, 0.01), changes(0.03, 0.018))  # p = 0.009 alone
    assert c6.decided([likely])[0].gains
    nothing = c6.Comparison(setting, "2P2D", changes(0.0, 0.01), changes(0.0, 0.01))
    assert not any(each.gains for each in c6.decided([likely, *[nothing] * 50]))


def test_the_numbers_of_disaggregation_name_the_extremes() -> None:
    numbers = c6.judge([split(-0.05, 20), split(-0.05, -100)]).numbers
    assert "shorter in 2 of 2" in numbers
    assert "gains in 1, loses in 1" in numbers
    assert "+2.0" in numbers
    assert "-10.0" in numbers


@pytest.mark.parametrize("traffic", list(c6.FULL_LOAD_RPS))
@pytest.mark.parametrize("cluster", [c6.COLOCATED, "1P3D"])
def test_every_setting_of_disaggregation_uses_the_same_gpus(traffic: str, cluster: str) -> None:
    scenario = c6.scenario(c6.LoadSetting(traffic, 0.5, 4), cluster, 0, 10.0)
    assert isinstance(scenario, Scenario)
    assert scenario.cluster.total_replicas == 4
    assert scenario.workload.rate_rps == pytest.approx(2 * c6.FULL_LOAD_RPS[traffic])


def scores(**of: dict[str, float]) -> dict[str, dict[str, Sequence[float]]]:
    """Scores of policies by metrics, each a little different from seed to seed."""
    return {
        metric: {name: [value + 0.001 * seed for seed in SEEDS] for name, value in policies.items()}
        for metric, policies in of.items()
    }


def verdict(**of: dict[str, float]) -> Verdict:
    return c9.judge(c9.compare({"a setting": scores(**of)}))


def test_metrics_that_prefer_different_policies() -> None:
    found = verdict(one={"a": 2.0, "b": 1.0}, two={"a": 1.0, "b": 2.0}, three={"a": 1.0, "b": 0.0})
    assert found.outcome == "reproduced"
    assert "Of 3 pairs of metrics (in 1 settings) 2 have" in found.numbers
    assert "one prefers a to b" in found.numbers


def test_metrics_that_agree() -> None:
    assert verdict(one={"a": 2.0, "b": 1.0}, two={"a": 3.0, "b": 2.0}).outcome == "not reproduced"
    assert verdict(one={"a": 1.0, "b": 2.0}, two={"a": 1.0, "b": 2.0}).outcome == "not reproduced"


def test_metrics_that_differ_by_chance() -> None:
    of = scores(one={"a": 2.0, "b": 1.0}, two={"a": 1.0, "b": 2.0})
    of["two"] = {"a": [1.0, 2.0, 3.0, 2.0, 1.0], "b": [3.0, 1.0, 1.0, 3.0, 1.1]}
    found = c9.judge(c9.compare({"a setting": of}))
    assert found.outcome == "not reproduced"
    assert "1 have different best policies, 0 of them surely" in found.numbers


def test_metrics_that_disagree_in_half_of_the_settings_do_so_partly() -> None:
    apart, alike = (
        scores(one={"a": 2.0, "b": 1.0}, two={"a": 1.0, "b": 2.0}),
        scores(one={"a": 2.0}, two={"a": 1.0}),
    )
    assert c9.judge(c9.compare({"x": apart, "y": alike})).outcome == "partly reproduced"
    assert c9.judge(c9.compare({"x": apart, "y": apart, "z": alike})).outcome == "reproduced"


def test_the_most_disputed_requests() -> None:
    first = np.array([100.0, 1.0, -1.0, -50.0, 0.0])
    second = np.array([0.2, 0.9, -0.9, np.nan, 0.1])
    better, worse = c9.most_disputed(first, second)
    assert better == 0  # the most by the first, in the middle by the second
    assert worse == 2  # nearly nothing by the first, the worst by the second
