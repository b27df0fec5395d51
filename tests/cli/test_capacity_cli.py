"""``servesim capacity``: targets, saturation, what is left behind; nothing lost, nothing done twice."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from simulator.cli import main as cli
from simulator.metrics import RequestLog
from simulator.studies.capacity import scenario as capacity_scenario
from simulator.studies.capacity.book import Bound
from simulator.studies.capacity.measured import backlog, warm_up
from simulator.studies.capacity.target import parse_target

SCENARIO = """
[hardware]
gpu = "a100-80gb-sxm"
[engine]
max_num_seqs = 8
[workload]
arrivals = "poisson"
rate_rps = 10.0
requests = 150
prompt_tokens = 200
output_tokens = 20
"""
TARGET = ["--target", "ttft_p90<=0.1", "--within", "0.2", "--most-requests", "600"]


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "chat.toml"
    path.write_text(SCENARIO)
    return path


def run(scenario, tmp_path, *more):
    out = tmp_path / "out"
    code = cli.main(["capacity", str(scenario), "--out", str(out), "--jobs", "1", *more])
    return code, out


@pytest.mark.parametrize(
    ("text", "key", "bound"),
    [
        ("stable", "capacity.backlog_growth", Bound(0.005, True)),
        ("smooth", "capacity.smooth_goodput_tokens_per_s_and_gpu", None),
        ("token_slo >= 0.99", "token_slo.attainment", Bound(0.99, False)),
        ("slo>=.95", "slo.attainment_all", Bound(0.95, False)),
        ("ttft_p99<=5e-1", "latency.ttft_s.p99", Bound(0.5, True)),
        ("idle_mean<=0.2", "idle_latency.idle_latency_s.mean", Bound(0.2, True)),
        ("qoe.qoe.mean>=0.9", "qoe.qoe.mean", Bound(0.9, False)),
    ],
)
def test_targets(text, key, bound):
    target = parse_target(text)
    assert (target.key, target.bound) == (key, bound)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--target", "ttft_p99<0.5"], "expected KEY<=NUMBER"),
        (["--target", "ttft_p99<=fast"], "expected a number behind <="),
        (["--target", "ttft_p99<=nan"], "expected a number behind <="),
        (["--target", "latency.ttft.p99<=1"], "did you mean 'latency.ttft_s.p99'?"),
        (["--target", "engine.speed<=1"], "no metric 'engine.speed'"),
        (["--target", "slo>=0.9"], "--set slo.ttft_s"),
        (["--set", "run.horizon_s=9"], "run.horizon_s: would cut runs off"),
        (["--set", "workload.arrivals=burst", "--set", "workload.rate_rps=none"], "have no rate to search"),
        (["--set", "workload.growth=2", "--set", "workload.growth_every_s=9"], "a rate that changes"),
        (
            ["--set", "workload.load=servegen_r1_day", "--set", "workload.rate_rps=none"],
            "workload.load: a rate that changes",
        ),
        (["--most-requests", "100"], "expected at least 150"),
        (["--within", "0"], "--within"),
        (["--set", "engine.max_model_len=100"], "requests/s, seed 0: workload.prompt_tokens 200"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_sentence(scenario, tmp_path, capsys, more, says):
    code, out = run(scenario, tmp_path, *more)
    error = capsys.readouterr().err
    assert code == 2
    assert says in error
    assert len(error.strip().splitlines()) == 1
    assert not (out / "answer.json").exists()


def test_a_search_leaves_its_answer_its_runs_and_a_picture(scenario, tmp_path, capsys, monkeypatch):
    code, out = run(scenario, tmp_path, *TARGET)
    assert code == 0
    answer = json.loads((out / "answer.json").read_text())
    assert 0 < answer["low"] < answer["rate"] < answer["high"]
    assert answer["per_gpu"]["rate"] == answer["rate"] / answer["gpus"]
    assert {each["verdict"] for each in answer["shown"]} >= {"holds", "fails"}
    for each in answer["shown"]:
        if each["verdict"] == "holds" and not each["saturated"]:
            assert each["high_95"] < 0.1
    table = pq.read_table(out / "capacity.parquet").to_pydict()
    assert len(table["rate"]) == answer["simulations"] == len(list((out / "points").iterdir()))
    assert (
        len(set(zip(table["rate"], table["seed"], table["requests"], strict=True))) == answer["simulations"]
    )
    assert (out / "capacity.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert f"{answer['rate']:.4g} requests/s" in printed
    assert "confidence 95 %" in printed
    before = (out / "answer.json").read_bytes()
    monkeypatch.setattr(capacity_scenario, "measure", lambda point: pytest.fail("computed again"))
    assert run(scenario, tmp_path, *TARGET)[0] == 0
    assert (out / "answer.json").read_bytes() == before


def test_saturation_is_said(scenario, tmp_path, capsys):
    code, out = run(scenario, tmp_path, "--target", "stable", "--within", "0.2", "--requests", "1200")
    answer = json.loads((out / "answer.json").read_text())
    assert code == 0
    assert answer["low"] < answer["saturated_from"]["rate"] <= 40
    assert "above capacity" in answer["saturated_from"]["reason"]
    assert "requests/s on: the" in capsys.readouterr().out


def test_runs_that_are_too_short_for_an_answer_are_told_of(scenario, tmp_path, capsys):
    short = [
        "--most-requests",
        "150",
        "--set",
        "engine.max_num_seqs=256",
        "--set",
        "workload.output_tokens=400",
    ]
    code, _ = run(scenario, tmp_path, *short, "--most-simulations", "12")
    assert code == 0
    assert "are too short to tell filling up from overload" in capsys.readouterr().out


def test_sessions_that_are_not_kept_up_with_are_saturated_though_later_turns_wait(scenario, tmp_path):
    turns = [
        "--set",
        "workload.session_turns=2.0",
        "--set",
        "workload.think_s=0.0",
        "--most-simulations",
        "20",
    ]
    code, out = run(scenario, tmp_path, *turns, "--target", "throughput.requests_per_s", "--requests", "150")
    answer = json.loads((out / "answer.json").read_text())
    assert code == 0
    table = pq.read_table(out / "capacity.parquet").to_pydict()
    most = max(table["throughput.requests_per_s"])
    assert answer["rate"] < answer["most_rate"]
    assert 2 * answer["rate"] == pytest.approx(most, rel=0.15)  # two turns each


def test_the_answer_is_the_same_whatever_of_a_run_is_kept(scenario, tmp_path):
    answers = {}
    for kept in ("tokens", "requests", "summary"):
        code, out = run(scenario, tmp_path / kept, *TARGET, "--set", f"run.trace_level={kept}")
        assert code == 0
        answers[kept] = json.loads((out / "answer.json").read_text())
    assert answers["summary"] == answers["requests"] == answers["tokens"]


def test_the_best_rate_lies_below_saturation(scenario, tmp_path):
    code, out = run(scenario, tmp_path, "--within", "0.2", "--most-simulations", "80")
    answer = json.loads((out / "answer.json").read_text())
    assert code == 0
    assert answer["metric"] == "capacity.smooth_goodput_tokens_per_s_and_gpu"
    assert answer["rate"] < answer["saturated_from"]["rate"]
    assert answer["high"] <= answer["most_rate"]
    assert answer["window_s"] > 0


def test_of_a_trace_the_answer_is_for_exactly_this_traffic(tmp_path, capsys):
    out = tmp_path / "out"
    settings = ["workload.limit=300", "cluster.replicas=1", "hardware.gpu=a100-80gb-sxm"]
    more = [part for setting in settings for part in ("--set", setting)]
    assert cli.main(["capacity", "--target", "ttft_p99<=1", *more, "--out", str(out), "--jobs", "1"]) == 0
    answer = json.loads((out / "answer.json").read_text())
    assert answer["confidence"] is None
    assert answer["high"] <= answer["low"] * 1.05**2
    assert "for exactly this traffic" in capsys.readouterr().out
    assert cli.main(["capacity", "--requests", "100", "--out", str(out)]) == 2
    assert "workload.limit" in capsys.readouterr().err


def test_of_two_gpus_each_serves_half(scenario, tmp_path):
    found = {}
    for replicas in (1, 2):
        spec = scenario.with_name(f"{replicas}.toml")
        spec.write_text(SCENARIO.replace("rate_rps = 10.0", f"rate_rps = {10.0 * replicas}"))
        code, out = run(spec, tmp_path / spec.stem, *TARGET, "--set", f"cluster.replicas={replicas}")
        assert code == 0
        found[replicas] = json.loads((out / "answer.json").read_text())
    assert [found[replicas]["gpus"] for replicas in (1, 2)] == [1, 2]
    one, two = found[1]["per_gpu"], found[2]["per_gpu"]
    assert two["low"] == found[2]["low"] / 2
    assert two["low"] < one["high"] * 1.5
    assert one["low"] < two["high"] * 1.1  # sharing a router's queue is no loss


def test_who_turns_requests_away_is_told_so(scenario, tmp_path, capsys):
    settings = ["--set", "policy.admission=queue_cap", "--target", "ttft_p99<=0.4", "--set"]
    code, _ = run(scenario, tmp_path, *settings, "policy.admission.max_waiting=2", "--most-simulations", "40")
    assert code == 0
    assert "of what arrives is completed" in capsys.readouterr().out


def test_interrupted_it_goes_on(scenario, tmp_path):
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "simulator.cli.main",
        "capacity",
        str(scenario),
        "--out",
        str(out),
        "--jobs",
        "2",
    ]
    process = subprocess.Popen(
        [*command, *TARGET], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    for _ in range(1200):
        time.sleep(0.05)
        if process.poll() is not None or len(list(out.glob("points/[!.]*.json"))) >= 2:
            break
    process.send_signal(signal.SIGINT)
    error = process.communicate()[1]
    assert (process.returncode, error) == (130, "servesim: error: interrupted\n")
    done = {path: path.stat().st_mtime_ns for path in out.glob("points/[!.]*.json")}
    assert len(done) >= 2
    assert run(scenario, tmp_path, *TARGET)[0] == 0
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())


def queue_of(rate, service_s, n=1000):
    """One request after another."""
    arrival_s = np.arange(n) / rate
    end_s = service_s * np.arange(1, n + 1) + np.maximum.accumulate(arrival_s - service_s * np.arange(n))
    return RequestLog.from_lists(arrival_s, [[end] for end in end_s])


def test_a_backlog_that_grows_is_told_from_one_that_does_not():
    assert abs(backlog(queue_of(10.0, 0.09), 0).growth) < 0.002
    over = backlog(queue_of(10.0, 0.12), 0)
    assert over.growth == pytest.approx(1 - 1 / 1.2, abs=0.01)
    assert over.grew
    assert over.short  # requests stay for a sixth of it all: those that came first are hardly gone


def test_warm_up_is_cut_where_batches_settle():
    draw = np.random.default_rng(1)
    arrival_s = np.arange(400.0)
    gap_s = np.where(np.arange(400) < 60, 0.5, 1.0) + draw.normal(0, 0.01, 400)
    log = RequestLog.from_lists(
        arrival_s, [[a + 0.25, a + 0.25 + g] for a, g in zip(arrival_s, gap_s, strict=True)]
    )
    assert 55 <= warm_up(log) <= 75
