"""The verdicts on disaggregation, needless moves and disagreeing metrics, from made-up numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from experiments.paper import _c7_cases
from experiments.paper import c6_disaggregation as c6
from experiments.paper import c7_harmful_moves as c7
from experiments.paper import c9_metrics_disagree as c9
from experiments.paper._reproduce import Verdict
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval

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


def test_what_is_immaterial_or_unsure_is_no_gain() -> None:
    setting = c6.LoadSetting("chat", 0.5, 4)
    shorter = Interval(-0.05, -0.06, -0.04)
    immaterial = c6.Comparison(setting, "2P2D", shorter, Interval(0.0005, 0.0004, 0.0006))
    unsure = c6.Comparison(setting, "2P2D", shorter, Interval(0.05, -0.01, 0.11))
    assert [(each.gains, each.loses) for each in (immaterial, unsure)] == [(False, False)] * 2


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


def moves(more: float, idle_s: float, goodput: float, kind: str = "migrations") -> c7.Case:
    """An eager policy with so many more moves, and so much more idle latency and smooth goodput."""
    reserved = seeds(lambda x: summary(900.0 + x, idle_s=1.0 + x, **{kind: 10}))
    eager = seeds(
        lambda x: summary(900.0 + goodput + 1.01 * x, idle_s=1.0 + idle_s + x, **{kind: 10 + more + x})
    )
    return _c7_cases.compare(kind, "a setting", ("eager", "reserved"), eager, reserved)


NEEDLESS, HARMFUL, USEFUL = moves(20, 0.1, 0.0), moves(20, 0.5, -50), moves(20, -0.5, 50)


def test_what_a_case_finds() -> None:
    assert NEEDLESS.finding == HARMFUL.finding == "needless"
    assert USEFUL.finding == "useful"
    assert moves(20, -0.1, 0.0).finding == "useful"
    assert moves(-5, 0.5, -50).finding == "no more"
    unsure = NEEDLESS._replace(goodput=Interval(0.0, -0.1, 0.1))
    assert unsure.finding == "undecided"


@pytest.mark.parametrize(
    ("cases", "outcome"),
    [
        ([NEEDLESS, HARMFUL, moves(20, 0.5, -50, "preemptions")], "reproduced"),
        ([NEEDLESS, HARMFUL, USEFUL], "partly reproduced"),
        ([NEEDLESS, USEFUL, USEFUL], "not reproduced"),
        ([USEFUL], "not reproduced"),
        ([moves(-5, 0.5, -50)], "not reproduced"),
        ([], "not reproduced"),
    ],
)
def test_moves_are_for_nothing(cases: list[c7.Case], outcome: str) -> None:
    assert c7.judge(cases).outcome == outcome


def test_the_numbers_of_moves_count_the_findings() -> None:
    numbers = c7.judge([NEEDLESS, HARMFUL, USEFUL]).numbers
    assert "Of 3 cases with migrations: 2 needless, 1 useful, 0 undecided, 0 no more" in numbers
    assert "of the needless, 1 with less smooth goodput" in numbers


def test_no_moves_are_counted_as_none() -> None:
    assert c7.counts("migrations", [summary(1.0), summary(1.0, migrations=3)]) == [0.0, 3.0]


def test_who_has_text_in_hand_when_moved() -> None:
    log = {
        "arrival_s": np.array([0.0, 10.0]),
        "token_offsets": np.array([0, 40, 42]),
        "delivered_s": np.concatenate([np.linspace(0.1, 0.49, 40), [10.5, 11.5]]),
        "transfers.request_id": np.array([0, 0, 1]),
        # After 40 tokens the next is due at 2.05 s; of the other request the second was due at 10.1 s.
        "transfers.start_s": np.array([0.5, 2.0, 11.0]),
    }
    assert c7.no_request_waited(log, 0.05) == (1, 3)


def scores(**of: dict[str, float]) -> dict[str, dict[str, Sequence[float]]]:
    """Scores of policies by metrics, each a little different from seed to seed."""
    return {
        metric: {name: [value + 0.001 * seed for seed in SEEDS] for name, value in policies.items()}
        for metric, policies in of.items()
    }


def verdict(**of: dict[str, float]) -> Verdict:
    return c9.judge(c9.compare("a setting", scores(**of)))


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
    assert c9.judge(c9.compare("a setting", of)).outcome == "partly reproduced"


def test_the_most_disputed_requests() -> None:
    first = np.array([100.0, 1.0, -1.0, -50.0, 0.0])
    second = np.array([0.2, 0.9, -0.9, np.nan, 0.1])
    better, worse = c9.most_disputed(first, second)
    assert better == 0  # the most by the first, in the middle by the second
    assert worse == 2  # nearly nothing by the first, the worst by the second


@pytest.mark.parametrize("module", [c6, c7, c9])
def test_the_claim_is_the_one_of_the_file(module: Any) -> None:
    assert module.__name__.endswith(f"{module.CLAIM_ID.lower()}_{module.__name__.partition('_')[2]}")
