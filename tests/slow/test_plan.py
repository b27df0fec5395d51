"""``servesim plan``: the cheapest plan is the cheapest, in few runs; nothing is lost, and what is wrong is said."""

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from benchmarks.plan import compare
from simulator import run
from simulator.cli import main as cli
from simulator.scenario.scenario import Scenario
from simulator.studies.plan import robust as plan_robust
from simulator.studies.plan import runs as plan_runs
from simulator.studies.plan.output import runnable
from simulator.studies.plan.plan import find, judge_lines
from simulator.studies.plan.runs import CandidateRuns
from simulator.studies.plan.space import PlanFile
from simulator.studies.points import Kept
from simulator.studies.workers import Workers
from simulator.workload import build

TRAFFIC = """
[set]
"workload.trace" = "azure2023_conv"
"workload.limit" = {limit}
"workload.rate_scale" = {rate}
"user.first_token_allowance_s" = 1.0
"""
SPACE = """
[space]
gpus = ["h100-80gb-sxm", "l40s"]
tensor_parallel = [1]
replicas = {{ from = 1, to = {most}, steps = {most} }}
shapes = ["colocated", "1:1"]
settings."engine.max_num_batched_tokens" = [1024, 8192]
"""
TARGET = 'target = ["token_slo.attainment >= 0.9", "latency.ttft_s.p99 <= 1.0"]'


@pytest.fixture
def make(tmp_path):
    def write(target=TARGET, rate=10.0, most=4, more="", limit=120):
        path = tmp_path / "plan.toml"
        text = target + TRAFFIC.format(rate=rate, limit=limit) + more + SPACE.format(most=most)
        path.write_text(text)
        return path

    return write


def test_the_plan_is_the_cheapest_there_is_and_takes_few_runs(make, tmp_path):
    path = make(rate=40.0, most=24)
    path.write_text(path.read_text().replace(', "1:1"', ""))
    found = compare(PlanFile.from_toml(path), tmp_path / "out", Workers())
    assert found.candidates == 2 * 24 * 2
    assert found.found_usd == pytest.approx(found.best_usd)
    assert found.runs_share <= 0.15
    assert found.lengths_share <= 0.15
    assert not found.wrongly_refused
    assert found.best_usd > 2 * 0.79  # not merely the smallest candidate


def test_every_candidate_has_a_state_and_the_numbers_add_up(make, tmp_path):
    plan = PlanFile.from_toml(make())
    found = find(plan, tmp_path / "out", Workers(), robustness=False)
    states = [row.state for row in found.rows()]
    assert len(states) == plan.size
    assert states.count("chosen") == 1
    known = found.runs.outcomes.values()
    assert states.count("missed") == sum(not each.keeps for each in known)
    assert found.search_simulations == len(list((tmp_path / "out" / "points").glob("*.json")))
    assert found.search_whole_runs <= found.search_simulations
    usd = found.best[0].usd_per_hour(found.best[1])
    cheaper = {row.state for row in found.rows() if row.line.usd_per_hour(row.count) < usd}
    assert cheaper <= {"missed", "inferred", "bound", "not fit"}


def test_the_same_command_goes_on_and_another_target_uses_what_is_there(make, tmp_path, monkeypatch):
    path, out = make(), tmp_path / "out"
    first = find(PlanFile.from_toml(path), out, Workers())
    again = find(PlanFile.from_toml(path), out, Workers())
    assert first.runs.computed > 0
    assert again.runs.computed == 0
    assert again.best == first.best
    assert again.checks == first.checks
    path = make(TARGET.replace("<= 1.0", "<= 0.9"))
    other = find(PlanFile.from_toml(path), out, Workers())
    assert other.runs.computed < first.runs.computed


def test_files_and_the_scenario_that_runs(make, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["plan", str(make()), "--out", str(out), "--jobs", "1"]) == 0
    printed = capsys.readouterr().out
    assert "cheapest plan that keeps the target" in printed
    assert "vllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size 1" in printed
    content = json.loads((out / "plan.json").read_text())
    table = pq.read_table(out / "candidates.parquet").to_pylist()
    assert len(table) == content["candidates"] == 24
    (chosen,) = [row for row in table if row["state"] == "chosen"]
    assert chosen["usd_per_hour"] == content["plan"]["usd_per_hour"]
    assert (out / "front.png").stat().st_size > 5000
    result = run(Scenario.from_toml(out / "plan.toml"))
    assert result.summary()["token_slo"]["attainment"] == chosen["token_slo.attainment"]
    assert result.manifest["usd_per_gpu_hour"] * result.manifest["gpus"] == pytest.approx(
        chosen["usd_per_hour"]
    )
    assert [each["what"] for each in content["robustness"]] == [
        "as planned", "traffic x 0.8", "traffic x 1.2", "outputs x 1.25", "steps 5.26 % slower",
    ]  # fmt: skip
    assert content["robustness"][0]["numbers"]["latency.ttft_s.p99"] == chosen["latency.ttft_s.p99"]


def test_a_target_that_nothing_meets_shows_the_nearest_and_exits_1(make, tmp_path, capsys):
    path = make('target = ["latency.ttft_s.p99 <= 0.02"]', most=2)
    assert cli.main(["plan", str(path), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 1
    printed = capsys.readouterr().out
    assert "nothing keeps the target; the nearest is" in printed
    assert "too slow even when idle" in printed
    assert "vllm serve" not in printed
    content = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert content["keeps"] is False
    assert content["plan"]["margin"] < 0
    assert content["plan"]["gpu"] == "h100-80gb-sxm"


def test_what_does_not_fit_is_said(make, tmp_path, capsys):
    path = make(more='"hardware.model" = "llama-3.1-70b"\n"policy.scheduling" = "sarathi"\n', most=2)
    assert cli.main(["plan", str(path), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 1
    printed = capsys.readouterr().out
    assert "nothing in the space can be simulated" in printed
    assert "does not fit" in printed
    assert "weights" in printed


def test_a_failing_policy_is_recorded_and_the_rest_goes_on(make, tmp_path, capsys):
    policy = tmp_path / "broken.py"
    policy.write_text(
        "from simulator.policy import Scheduler\n\n\nclass Broken(Scheduler):\n"
        "    def splits_prompts(self):\n        return True\n\n"
        "    def plan(self, step):\n        raise RuntimeError('no plan')\n"
    )
    path = make()
    path.write_text(path.read_text() + f'policies = ["{policy}", "vllm_v1"]\n')
    assert cli.main(["plan", str(path), "--out", str(tmp_path / "out"), "--jobs", "1", "--no-checks"]) == 0
    shown = capsys.readouterr()
    assert "candidates failed" in shown.err
    table = pq.read_table(tmp_path / "out" / "candidates.parquet").to_pylist()
    failed = [row for row in table if row["state"] == "failed"]
    assert failed
    assert all(row["policy"] == str(policy) and "no plan" in row["reason"] for row in failed)
    assert [row["policy"] for row in table if row["state"] == "chosen"] == ["vllm_v1"]


def test_random_traffic_is_simulated_with_several_seeds(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(
        'target = ["token_slo.attainment >= 0.9"]\n[set.workload]\narrivals = "poisson"\nrate_rps = 20.0\n'
        'requests = 60\nlengths = "chat_azure2023"\n[set.user]\nfirst_token_allowance_s = 1.0\n'
        '[space]\ngpus = ["h100-80gb-sxm"]\ntensor_parallel = [1]\nshapes = ["colocated"]\nreplicas = [1, 2]\n'
    )
    found = find(PlanFile.from_toml(path), tmp_path / "out", Workers())
    outcome = found.runs.outcomes[found.best[0].number, found.best[1]]
    assert found.runs.seeds == [0, 1, 2]
    assert len(outcome.runs) == 3
    assert all(each["token_slo.attainment"] >= 0.9 for each in outcome.runs)
    assert len({each["latency.ttft_s.mean"] for each in outcome.runs}) == 3


def test_more_replicas_never_come_before_fewer_are_known_to_miss(make, tmp_path):
    """Of the chosen line, the next smaller count was simulated, or a bound refuses it."""
    found = find(PlanFile.from_toml(make(rate=40.0, most=16)), tmp_path / "out", Workers(), robustness=False)
    line, count = found.best
    below = [n for n in line.counts if n < count]
    assert below
    if below[-1] >= found.judgements[line.number].least:
        assert not found.runs.outcomes[line.number, below[-1]].keeps


def test_ctrl_c_ends_with_130_and_loses_nothing(make, tmp_path):
    out = tmp_path / "out"
    path = make(rate=40.0, most=24)
    command = [
        sys.executable,
        "-m",
        "simulator.cli.main",
        "plan",
        str(path),
        "--out",
        str(out),
        "--jobs",
        "1",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for _ in range(3000):
        time.sleep(0.02)
        if process.poll() is not None or len(list((out / "points").glob("[!.]*.json"))) >= 3:
            break
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "interrupted" in said
    done = set((out / "points").glob("[!.]*.json"))
    assert len(done) >= 3
    plan = PlanFile.from_toml(path)
    found = find(plan, out, Workers(), robustness=False)
    assert found.runs.computed == found.search_simulations - len(done)


def test_paths_in_the_plan_do_not_depend_on_where_it_is_read(tmp_path):
    (tmp_path / "mine.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,50,5\n1,50,5\n")
    path = tmp_path / "plan.toml"
    path.write_text(
        'target = ["latency.ttft_s.p99 <= 1.0"]\n[set]\n"workload.trace" = "mine.csv"\n'
        '[space]\ngpus = ["l40s"]\ntensor_parallel = [1]\nshapes = ["colocated"]\nreplicas = [1]\n'
    )
    found = find(PlanFile.from_toml(path), tmp_path / "out", Workers(), robustness=False)
    assert runnable(found).workload.trace == str(tmp_path / "mine.csv")


def test_a_plan_for_a_load_of_ones_own(tmp_path):
    """Its path is kept, and more traffic is more of it over the same time."""
    (tmp_path / "day.csv").write_text("time_s,factor\n0,1\n30,3\n")
    path = tmp_path / "plan.toml"
    path.write_text(
        'target = ["latency.ttft_s.p99 <= 1.0"]\n[set.workload]\narrivals = "constant"\nrate_rps = 1.0\n'
        'requests = 60\nprompt_tokens = 50\noutput_tokens = 5\nload = "day.csv"\n'
        '[space]\ngpus = ["l40s"]\ntensor_parallel = [1]\nshapes = ["colocated"]\nreplicas = [1]\n'
    )
    plan = PlanFile.from_toml(path)
    found = find(plan, tmp_path / "out", Workers(), robustness=False)
    assert runnable(found).workload.load == str(tmp_path / "day.csv")
    (more,) = plan_robust._faster(plan.scenario(*found.best), 1.2, found.runs, tmp_path)
    now, then = (build(each.workload, 0, tmp_path).arrival_s for each in (plan.base, more))
    assert (len(now), len(then)) == (60, 72)
    assert then[-1] == pytest.approx(now[-1], abs=1.0)
    assert sum(then < 30) == pytest.approx(1.2 * sum(now < 30), abs=1)


def test_simulations_are_kept_one_by_one(make, tmp_path, monkeypatch):
    plan, asked = PlanFile.from_toml(make()), []
    real = plan_runs.simulate

    def stop_after_two(trial):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(trial)
        return real(trial)

    monkeypatch.setattr(plan_runs, "simulate", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        find(plan, tmp_path / "out", Workers())
    assert len(list((tmp_path / "out" / "points").glob("*.json"))) == 2


def test_judgements_come_without_a_simulation(make, tmp_path, monkeypatch):
    plan = PlanFile.from_toml(make(rate=40.0, most=16))
    monkeypatch.setattr(plan_runs, "simulate", lambda trial: pytest.fail("simulated"))
    judged = judge_lines(plan, CandidateRuns(plan, Kept(tmp_path / "points"), Workers()))
    assert all(each.refused is None for each in judged.values())
    assert all(1 <= each.least <= each.estimate for each in judged.values())
