"""What is said of many comparisons at once, of values that have bounds, and where seeds change nothing."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from simulator.cli import main as cli
from simulator.report.comparison import over_seeds
from simulator.results.vocabulary import measure_of
from simulator.stats import Interval, holm, interval, p_above, signs
from simulator.studies.plan import robust
from simulator.studies.plan.goals import Goal

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=9), st.floats(-10, 10))
def test_a_p_value_is_students(values, bound):
    if np.ptp(values) > 1e-6:
        expected = ttest_1samp(values, bound, alternative="greater").pvalue
        assert p_above(values, bound) == pytest.approx(expected, abs=1e-9)


def test_values_without_spread_are_above_below_or_at_a_bound():
    assert [p_above([2.0, 2.0], bound) for bound in (1.0, 2.0, 3.0)] == [0.0, 0.5, 1.0]
    assert p_above([9.0]) == 0.5
    assert signs([[1.0, 1.0], [-1.0, -1.0], [0.0, 0.0], [5.0]]) == [1, -1, 0, 0]


def test_holm_as_in_its_paper():
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert holm([]) == []


@given(P_VALUES)
def test_holm_is_between_bonferroni_and_no_correction(p_values):
    level = 0.05 / len(p_values)
    for p, shown in zip(p_values, holm(p_values), strict=True):
        assert not shown or p <= 0.05
        assert shown or p > level * (1 - 1e-12)


def test_of_twenty_comparisons_without_a_difference_all_are_left_out_as_often_as_stated():
    draw, wrong, alone = np.random.default_rng(7), 0, 0
    for _ in range(400):
        family = draw.normal(size=(20, 5)).tolist()
        wrong += any(signs(family))
        alone += any(not interval(sample).holds(0) for sample in family)
    assert wrong / 400 <= 0.08
    assert alone / 400 > 0.5  # what each interval for itself would have shown


def test_an_interval_ends_where_values_do():
    assert Interval(0.95, 0.9, 1.2).within(0, 1) == Interval(0.95, 0.9, 1)
    assert Interval(0.1, -0.2, 0.4).within(0, math.inf).low == 0
    single = interval([0.5])
    assert single.within(0, 1) == single  # no interval is not the one of all values
    assert not single.known


@pytest.mark.parametrize(
    ("name", "possible"),
    [
        ("token_slo.attainment", (0, 1)),
        ("qoe.qoe.mean", (0, 1)),
        ("fluidity.fluidity_index.mean", (0, 1)),
        ("latency.ttft_s.p99", (0, math.inf)),
        ("throughput.output_tokens_per_s", (0, math.inf)),
        ("token_slo.deadline_slack_s.mean", (-math.inf, math.inf)),
        ("smooth_goodput.smooth_goodput_tokens_per_s", (-math.inf, math.inf)),
        ("mine.unheard_of", (-math.inf, math.inf)),
    ],
)
def test_what_values_a_number_can_have(name, possible):
    assert measure_of(name).possible == possible


def summary(attainment, requests_per_s=5.0):
    return {
        "slo": {"attainment_all": attainment},
        "throughput": {"requests_per_s": requests_per_s},
        "window": {"duration_s": 9.0, "rule": "arrivals"},
        "states": {"arrived": 9},
    }


def test_compare_shows_what_holds_among_all_of_the_table():
    base = [summary(0.5), summary(0.5), summary(0.5)]
    unsure = [summary(value) for value in (0.6, 0.65, 0.7)]  # p = 0.018 alone
    (alone,) = [row for row in str(over_seeds(["a", "b"], [base, unsure])).splitlines() if "SLO att" in row]
    assert "+30.0 % [" in alone
    assert "?" not in alone
    among = [base, unsure, *[[summary(0.5 + x) for x in (-0.1, 0.1, 0.05)]] * 4]
    table = str(over_seeds(["a", "b", "c", "d", "e", "f"], among))
    (row,) = [row for row in table.splitlines() if "SLO att" in row]
    assert "] ?" in row
    assert "5 were made, and those without ? hold together (Holm, 95 %)" in table


def test_compare_goes_no_further_than_values_do():
    runs = [[summary(0.9), summary(0.9)], [summary(0.98), summary(0.981)]]
    (row,) = [row for row in str(over_seeds(["a", "b"], runs)).splitlines() if "SLO att" in row]
    assert "[+8.2, +9.7]" in row
    runs = [[summary(0.9), summary(0.9)], [summary(0.99), summary(1.0)]]  # to +15.6 % without a bound
    (row,) = [row for row in str(over_seeds(["a", "b"], runs)).splitlines() if "SLO att" in row]
    assert "+11.1]" in row


def test_compare_of_one_trace_has_no_intervals():
    table = str(over_seeds(["a", "b"], [[summary(0.5)] * 3, [summary(0.6)] * 3]))
    assert "[" not in table
    assert "+20.0 %" in table
    assert table.splitlines()[-1].startswith("one trace, no spread")


SWEEP = """
replications = 2
metrics = ["slo.attainment.ttft_s", "ttft_p99"]
[set]
"cluster.replicas" = 1
{traffic}
[axes]
"policy.scheduling" = ["vllm_v1", "orca"]
"""


@pytest.fixture
def sweep_of(tmp_path, capsys):
    """Return what ``servesim sweep`` prints for a study on some traffic."""

    def printed(traffic):
        path = tmp_path / "study.toml"
        path.write_text(SWEEP.format(traffic=traffic))
        assert cli.main(["sweep", str(path), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 0
        return capsys.readouterr().out

    return printed


def test_a_sweep_of_one_trace_has_no_plus_minus_0(sweep_of):
    printed = sweep_of('"workload.limit" = 25\n"slo.ttft_s" = 1.0')
    assert "±" not in printed
    assert "one trace, no spread: nothing here is random, and all 2 seeds give the same" in printed


def test_a_sweep_over_seeds_keeps_to_what_is_possible(sweep_of):
    printed = sweep_of(
        '"workload.arrivals" = "poisson"\n"workload.requests" = 25\n"workload.rate_rps" = 90.0\n'
        '"workload.lengths" = "chat_sharegpt_vllm"\n"slo.ttft_s" = 0.04\n'
    )
    assert "each for itself" in printed
    assert "[0, 1.000]" in printed  # two seeds know next to nothing of a share
    assert re.search(r" \[0, [1-9]", printed)  # and little of a latency


class _Plan:
    """As much of a plan as a check looks at."""

    goals = (Goal("token_slo.attainment", True, 0.9), Goal("latency.ttft_s.p99", False, 1.0))


def test_a_plans_robustness_keeps_to_what_is_possible():
    results = [
        {"token_slo.attainment": 0.99, "latency.ttft_s.p99": 0.1},
        {"token_slo.attainment": 1.0, "latency.ttft_s.p99": 0.2},
    ]
    check = robust._check("as planned", "", _Plan, results)
    assert check.numbers["token_slo.attainment"] == Interval(0.995, pytest.approx(0.9315, abs=1e-4), 1.0)
    assert check.numbers["latency.ttft_s.p99"].low == 0
    one = robust._check("as planned", "", _Plan, results[:1] * 2)
    assert not one.numbers["latency.ttft_s.p99"].known
