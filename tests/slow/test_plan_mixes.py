"""``servesim plan`` over mixes of two kinds of GPU, and under a budget: nothing cheaper is lost, bounds are sound."""

import json

import pyarrow.parquet as pq
import pytest

from benchmarks.plan import compare
from simulator import Scenario, run
from simulator.cli import main as cli
from simulator.studies.plan.bounds import MixJudge, judge
from simulator.studies.plan.goals import Goal
from simulator.studies.plan.space import PlanFile
from simulator.studies.plan.traffic import Requests
from simulator.studies.points import numbers_of
from simulator.studies.workers import Workers
from simulator.workload import build

H100, L40S = "h100-80gb-sxm", "l40s"
PLAN = f"""
target = ["token_slo.attainment >= 0.65", "latency.ttft_s.p99 <= 1.0"]
[set]
"workload.trace" = "azure2023_conv"
"workload.start_s" = 1200
"workload.limit" = 150
"workload.rate_scale" = 5
"user.first_token_allowance_s" = 1.0
[space]
gpus = ["{H100}", "{L40S}"]
tensor_parallel = [1]
shapes = ["colocated"]
replicas = [1, 2, 3]
[space.settings]
"engine.max_num_seqs" = [64]
"""
MIXED = f"""
[mixes]
routers = ["least_loaded"]
[budget]
usd_per_hour = 11
gpus = {{ {L40S} = 3 }}
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixes")
    path = folder / "plan.toml"
    path.write_text(PLAN + MIXED)
    return path, compare(PlanFile.from_toml(path), folder, Workers())


def test_the_cheapest_of_all_mixes_is_found_and_none_is_wrongly_refused(searched):
    _, found = searched
    assert found.candidates == 5 + 6  # three H100 are beyond the budget
    assert found.found_usd == pytest.approx(found.best_usd)
    assert found.found_name == found.best_name
    assert not found.wrongly_refused
    assert found.runs_share < 0.6


def test_a_mix_is_printed_and_its_scenario_runs(searched, capsys):
    """In the folder of the search, of which nothing is simulated again."""
    path, out = searched[0], searched[0].parent / "search"
    before = set((out / "points").iterdir())
    assert cli.main(["plan", str(path), "--out", str(out), "--jobs", "1", "--no-checks"]) == 0
    assert set((out / "points").iterdir()) == before
    printed = capsys.readouterr().out
    assert f"1 x {H100} + 1 x {L40S}, vllm_v1, max_num_seqs 64, routing least_loaded, $4.78" in printed
    assert "one replica more of each kind, so that one may fail: $9.56 an hour" in printed
    assert f"# {L40S}: 1 x, on 1 {L40S} each" in printed
    content = json.loads((out / "plan.json").read_text())
    assert content["plan"]["gpus"] == {H100: 1, L40S: 1}
    assert content["beyond_budget"] == 4
    table = pq.read_table(out / "candidates.parquet").to_pylist()
    (chosen,) = [row for row in table if row["state"] == "chosen"]
    result = run(Scenario.from_toml(out / "plan.toml"))
    assert result.summary()["latency"]["ttft_s"]["p99"] == chosen["latency.ttft_s.p99"]
    assert set(result.summary()["pools"]) == {H100, L40S}


def pools(one, other, first=H100, second=L40S, rate=200.0):
    given = {"first": {"gpu": first, "replicas": one}, "second": {"gpu": second, "replicas": other}}
    spec = {
        "arrivals": "poisson",
        "rate_rps": rate,
        "requests": 1500,
        "prompt_tokens": 1500,
        "output_tokens": 40,
    }
    return Scenario(
        cluster={"pools": given}, workload=spec, user={"first_token_allowance_s": 1.0},
        policy={"routing": "least_loaded"},
    )  # fmt: skip


GOALS = [Goal("token_slo.attainment", True, 0.9), Goal("latency.ttft_s.p99", False, 1.0)]


def traffic_of(scenario):
    return Requests(build(scenario.workload, 0), cached=False)


@pytest.mark.parametrize(("goal", "ratio"), [(GOALS[0], (1, 2)), (GOALS[1], (1, 1))], ids=str)
def test_one_cluster_fewer_than_the_bound_misses(goal, ratio):
    scenario = pools(1, 1)
    judged = MixJudge(scenario, None, [goal], traffic_of(scenario)).judge(ratio, range(1, 200))
    units = judged.least // sum(ratio)
    assert units >= 2
    assert judged.least <= judged.estimate
    numbers = numbers_of(run(pools(*((units - 1) * each for each in ratio))))
    assert goal.margin(numbers[goal.metric]) < 0


def test_more_of_the_faster_kind_needs_fewer_and_the_bound_lies_between_those_of_the_kinds():
    scenario = pools(1, 1)
    traffic = traffic_of(scenario)
    mixes = MixJudge(scenario, None, GOALS, traffic)
    least = [mixes.judge(ratio, range(1, 1000)).least for ratio in ((8, 1), (2, 1), (1, 1), (1, 2), (1, 8))]
    alone = [
        judge(scenario.with_overrides(["cluster.pools=none", f"hardware.gpu={gpu}"]), None, GOALS, traffic,
              range(1, 1000), 1).least
        for gpu in (H100, L40S)
    ]  # fmt: skip
    assert alone[0] < alone[1]
    assert least[1] < least[-1]
    assert all(alone[0] <= each <= alone[1] + 8 for each in least)


def test_a_mix_of_two_alike_has_the_bound_of_one_kind():
    scenario = pools(1, 1, L40S, L40S)
    traffic = traffic_of(scenario)
    mixed = MixJudge(scenario, None, GOALS, traffic).judge((1, 1), range(1, 200))
    one = judge(scenario.with_overrides(["cluster.pools=none", "hardware.gpu=l40s"]), None, GOALS, traffic,
                range(1, 200), 1)  # fmt: skip
    assert mixed.least == one.least + one.least % 2 > 2
    assert abs(mixed.estimate - one.estimate) <= 1


def test_a_budget_takes_out_what_is_beyond_it(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(PLAN + f"[budget]\nusd_per_hour = 4.0\ngpus = {{ {L40S} = 1 }}\n")
    plan = PlanFile.from_toml(path)
    assert {(line.gpu, count) for line in plan.lines for count in line.counts} == {(H100, 1), (L40S, 1)}
    assert plan.beyond_budget == 4
