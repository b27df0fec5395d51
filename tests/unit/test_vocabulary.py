"""A number has one name: in the summary, in reports, in targets, in sweeps; its file says what it is called."""

import importlib
import re
import sys
from pathlib import Path
from typing import get_args

import pytest

import simulator.metrics
from simulator import Scenario, run
from simulator.errors import InputError
from simulator.metrics import Measure, RequestLog, Slo, UserModel, measures, spread, summarise
from simulator.metrics._measure import MOMENTS, ShownIn
from simulator.metrics._summary import metric_names, on_request
from simulator.report.comparison import comparison
from simulator.report.measures import rows_of_latencies, shown
from simulator.results.vocabulary import key_of, known, measure_of, numbers, vocabulary
from simulator.studies.capacity.target import MEASURES as OF_CAPACITY
from simulator.studies.capacity.target import check_target, parse_target
from simulator.studies.plan.goals import PER_REQUESTED, PER_SECOND, TTFT_P99, parse_goals
from simulator.studies.targets import read

ROOT = Path(__file__).parent.parent.parent
FEW = {"arrivals": "poisson", "rate_rps": 9.0, "requests": 30, "prompt_tokens": 300, "output_tokens": 9}
BOUNDS = Slo(ttft_s=1.0, tpot_s=1.0, tail_tbt_s=1.0, e2e_s=1.0)


@pytest.fixture(scope="module")
def summary():
    """Of a run in which there is everything that has a name."""
    traffic = {
        "arrivals": "poisson", "rate_rps": 9.0, "requests": 30, "lengths": "chat_azure2023",
        "session_turns": 3.0, "think_s": 0.1, "max_prompt_tokens": 4000,
    }  # fmt: skip
    policy = {"scheduling": {"name": "vllm_v1", "enable_prefix_caching": True}}
    return run(
        Scenario(
            workload=traffic, policy=policy, slo=vars(BOUNDS), metrics={"also": on_request()},
            speculation={"method": "eagle"},
        )
    ).summary()  # fmt: skip


@pytest.fixture(scope="module")
def summary_of_tiers():
    """Of a run with KV tiers, which go with no drafts."""
    tiers = [
        {"kind": kind, "capacity_gib": 4, "read_gb_s": 5, "write_gb_s": 5}
        for kind in ("host", "disk", "shared")
    ]
    return run(Scenario(workload=FEW, engine={"kv_offloading": {"tiers": tiers}})).summary()


@pytest.fixture(scope="module")
def summary_of_pools():
    """Of models whose quality is known, with electricity."""
    pools = {
        "small": {"quality": "mistral-7b"},
        "large": {"model": "qwen3-32b", "tensor_parallel_size": 2, "quality": "gpt-4-1106"},
    }
    policy = {"routing": "cascade"}
    hardware = {"usd_per_kwh": 0.1}
    return run(Scenario(workload=FEW, cluster={"pools": pools}, policy=policy, hardware=hardware)).summary()


def test_every_name_is_a_number_of_a_summary(summary, summary_of_tiers, summary_of_pools):
    for key, measure in vocabulary().items():
        of = next(
            each for each in (summary, summary_of_tiers, summary_of_pools) if key in dict(numbers(each))
        )
        there = dict(numbers(of))
        assert key == measure.key
        assert there[key] is not None, key
        assert measure.of(of) == there[key]


def test_every_metric_with_something_to_say_says_it():
    silent = {"stability", "window"}  # a verdict, and what the others are over
    for name in set(metric_names()) - silent:
        assert importlib.import_module(f"simulator.metrics.{name}").MEASURES, name


def test_aliases_are_of_one_measure_each_and_are_no_keys():
    named = [*vocabulary().values(), *OF_CAPACITY.values()]
    aliases = [each.alias for each in named if each.alias]
    assert len(set(aliases)) == len(aliases)
    assert not set(aliases) & set(vocabulary())
    assert key_of("ttft_p99") == "latency.ttft_s.p99" == key_of("latency.ttft_s.p99")
    text = (ROOT / "docs" / "capacity.md").read_text(encoding="utf-8")
    short = {
        name for name in re.findall(r"`'?(\w+?)(?:[<>]=[\d.]+)?'?`", text) if "_p99" in name or "slo" in name
    }
    assert short <= set(aliases), short


def test_what_views_and_studies_name_has_a_name():
    for view in get_args(ShownIn):
        assert len(shown(view)) > 5
    assert shown("ranking")[-1].key == PER_SECOND
    assert list(rows_of_latencies()) == ["TTFT", "TBT (ITL)", "TBT p99 of each", "TPOT", "E2E", "user idle"]
    assert {PER_REQUESTED, PER_SECOND, TTFT_P99} <= set(vocabulary())
    assert measure_of("smooth_goodput.smooth_goodput_tokens_per_s").axis == "smooth goodput (tokens/s)"
    assert measure_of("window.duration_s").axis == "window.duration_s"


def test_directions():
    for key, higher in {
        "latency.tbt_s.max": False,
        "token_slo.attainment": True,
        "cost.usd": False,
        "qoe.qoe.p50": True,
        "idle_latency.share_of_arrived_that_idled": False,
    }.items():
        assert vocabulary()[key].higher_is_better is higher


@pytest.mark.parametrize("text", ["ttft_p99 <= 0.5", "latency.ttft_s.p99<=0.5", " latency.ttft_s.p99 <=5e-1"])
def test_plan_and_capacity_read_the_same_target(text):
    names = list(known(UserModel(), Slo()))
    (goal,) = parse_goals([text], "p.toml", names)
    target = parse_target(text)
    assert (goal.metric, goal.at_least, goal.bound) == ("latency.ttft_s.p99", False, 0.5)
    assert (target.key, target.bound.at_most, target.bound.value) == ("latency.ttft_s.p99", True, 0.5)
    assert read(text, "").key == goal.metric


@pytest.mark.parametrize(
    "text", ["ttft_p99", "ttft_p99 < 1", "ttft_p99 <= soon", "<= 1", "a b <= 1", 3, "ttft.p99<=1"]
)
def test_a_target_that_is_none_is_refused_with_its_text(text):
    with pytest.raises(InputError, match=rf"^p\.toml: target.*{text}"):
        parse_goals([text], "p.toml", ["latency.ttft_s.p99"])


def test_what_is_better_the_lower_it_is_has_no_largest_value_to_be_found():
    with pytest.raises(InputError, match="TTFT p99 is better the lower it is; expected ttft_p99<=NUMBER"):
        check_target(parse_target("ttft_p99"), UserModel(), Slo())
    check_target(parse_target("goodput"), UserModel(), BOUNDS)
    with pytest.raises(InputError, match="the scenario sets no such objective"):
        check_target(parse_target("slo.attainment.ttft_s>=0.9"), UserModel(), Slo())


def test_many_runs_are_ranked_by_smooth_goodput():
    runs = [
        {
            "smooth_goodput": {"smooth_goodput_tokens_per_s": value},
            "window": {"duration_s": 60.0, "rule": "whole"},
        }
        for value in (3.0, -1.0, None, 2.0, 5.0)
    ]
    text = str(comparison(list("abcde"), runs))
    assert [line[0] for line in text.splitlines()[2:7]] == ["e", "a", "d", "b", "c"]
    assert text.splitlines()[-1] == "rates are over 60.0000 s (first arrival to last event)"


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        ("('tokens',)", "mine.py: MEASURES: expected a tuple of Measure, got 'tokens'"),
        ("Measure('mine.a', 'a', 's')", "mine.py: MEASURES: expected a tuple of Measure"),
        (
            "(Measure('other.a', 'a', 's'),)",
            "'other.a' does not begin with the file's name; expected mine.NAME",
        ),
    ],
)
def test_a_file_that_names_what_is_not_its_own_is_refused(tmp_path, monkeypatch, says, sentence):
    (tmp_path / "mine.py").write_text(
        f"from simulator.metrics import Measure\nMEASURES = {says}\ndef measure(log, user, slo): return {{}}\n"
    )
    monkeypatch.setattr(simulator.metrics, "__path__", [*simulator.metrics.__path__, str(tmp_path)])
    try:
        with pytest.raises(InputError) as refused:
            measures()
        assert sentence in str(refused.value)
    finally:
        sys.modules.pop("simulator.metrics.mine", None)
        vars(simulator.metrics).pop("mine", None)


def test_a_spread_has_a_measure_for_each_moment():
    found = spread("mine.wait_s", "wait", "s", alias="wait", mean=("report",), p99=("report", "compare"))
    assert [each.key for each in found] == [f"mine.wait_s.{moment}" for moment in MOMENTS]
    assert [each.alias for each in found] == [f"wait_{moment}" for moment in MOMENTS]
    assert [each.label for each in found if each.shown] == ["wait mean", "wait p99"]
    assert Measure("a.b", "b", "").of({"a": {"not_measured": "why"}}) is None


def test_smooth_goodput_over_what_was_asked_for():
    log = RequestLog.from_lists([0.0, 0.0], [[0.05, 0.1], [0.05]], output_tokens=[2, 2])
    assert summarise(log, UserModel(), Slo())["smooth_goodput"]["per_requested_token"] == pytest.approx(0.75)
    empty = RequestLog.from_lists([], [])
    assert summarise(empty, UserModel(), Slo())["smooth_goodput"]["per_requested_token"] is None
