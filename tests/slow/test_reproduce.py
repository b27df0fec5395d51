"""The experiments behind the paper's claims: what they share, the command, and verdicts that follow the data."""

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest

from experiments.commands import reproduce as reproduce_cli
from experiments.paper._reproduce import ORIGINS, Study, Verdict, Workers, check
from experiments.paper._scenarios import base_scenario
from simulator import run
from simulator.cli import main as cli
from simulator.errors import InputError
from simulator.metrics._options import Slo, UserModel
from simulator.stats import Interval, interval, paired


def tiny(seed=0, **overrides):
    return base_scenario(rate_rps=20.0, requests=20, seed=seed, overrides=overrides)


# What experiments share


def test_an_interval_is_students_and_a_paired_one_cancels_what_is_shared():
    found = interval([1.0, 2.0, 3.0])
    half = 4.302652729911275 / 3**0.5
    assert (found.mean, found.low, found.high) == pytest.approx((2, 2 - half, 2 + half))
    assert interval([5.0]) == Interval(5.0, -np.inf, np.inf)
    noise = [10.0, -300.0, 77.0]
    gain = paired([each + 1 for each in noise], noise)
    assert gain.above_zero
    assert not gain.below_zero
    assert gain.text(".0f", 100) == "100 [100, 100]"
    with pytest.raises(ValueError, match="finite"):
        interval([1.0, np.nan])
    with pytest.raises(ValueError, match="argument 2 is longer"):
        paired([1.0], [1.0, 2.0])


def test_quick_means_fewer_seeds(tmp_path):
    assert Study(tmp_path, quick=True).seeds == (0, 1, 2)
    assert Study(tmp_path).seeds == (0, 1, 2, 3, 4)
    assert Study(tmp_path).first_seeds(8) == tuple(range(8))
    assert Study(tmp_path, quick=True).first_seeds(2) == (0, 1)


def test_overrides_are_dotted_keys_and_seeds_of_a_trace_are_other_stretches():
    changed = tiny(**{"policy.scheduling": "orca", "user.alpha": 3.0, "workload.lengths": "code_humaneval"})
    assert (changed.policy.scheduling.name, changed.user.alpha) == ("orca", 3.0)
    assert changed.workload.lengths == "code_humaneval"
    with pytest.raises(InputError, match=r"user\.alhpa"):
        tiny(**{"user.alhpa": 1.0})
    starts = {
        base_scenario(traffic="azure", rate_rps=5.0, requests=9, seed=seed).workload.start_s
        for seed in range(5)
    }
    assert len(starts) == 5
    many = {
        base_scenario(traffic="azure", rate_rps=5.0, requests=n, seed=seed).workload.start_s
        for n in (1000, 3000)
        for seed in range(10)
    }
    assert many == {300.0 * i for i in range(10)}


def test_summaries_are_those_of_the_run_and_are_computed_once(tmp_path, monkeypatch):
    study = Study(tmp_path / "c0")
    scenarios = [tiny(seed) for seed in range(2)]
    slo = Slo(ttft_s=0.5)
    first = study.both_origins(scenarios, slo=slo)
    for origin in ORIGINS:
        expected = run(scenarios[1]).summary(UserModel(origin=origin), slo)
        assert first[origin][1] == json.loads(json.dumps(expected))
    log = study.log(scenarios[0])
    assert log.delivered_s.tolist() == run(scenarios[0]).log.delivered_s.tolist()
    columns = study.per_request(scenarios[0], ("idle_s", "ttft_s", "steps.start_s"))
    assert len(columns["idle_s"]) == len(columns["ttft_s"]) == 20

    monkeypatch.setattr("simulator.scenario.run.run", None)  # nothing is simulated again
    assert study.both_origins(scenarios, slo=slo) == first
    assert study.log(scenarios[0]).ttft_s.tolist() == log.ttft_s.tolist()
    with pytest.raises(TypeError):
        study.summaries(scenarios, user=UserModel(v_s_per_token=0.1), slo=slo)


def test_an_interrupted_run_keeps_what_is_done(tmp_path, monkeypatch):
    scenarios = [tiny(seed) for seed in range(3)]
    done = []

    def interrupted(scenario):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(scenario)
        return run(scenario)

    monkeypatch.setattr("simulator.scenario.run.run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Study(tmp_path / "c0").summaries(scenarios)
    assert done == scenarios[:2]
    done.clear()
    assert len(Study(tmp_path / "c0").summaries(scenarios)) == 3
    assert done == scenarios[2:]


def test_processes_find_what_one_finds(tmp_path):
    scenarios = [tiny(seed) for seed in range(5)]
    one = Study(tmp_path / "one" / "c0").summaries(scenarios)
    assert Study(tmp_path / "two" / "c0", Workers(jobs=2)).summaries(scenarios) == one


def test_what_cannot_fail_stops_the_program_when_it_does():
    check(True, "holds")
    with pytest.raises(RuntimeError, match="check failed: it does not"):
        check(False, "it does not")


# The command


def test_every_experiment_says_what_it_is():
    for path in reproduce_cli.experiments():
        explained = importlib.import_module(f"experiments.paper.{path.stem}").__doc__.lower()
        for words in (("question",), ("expect",), ("paper",), ("run time", "takes", "processor time")):
            assert any(word in explained for word in words), f"{path.name} does not say: {words[0]}"


def test_an_unknown_claim_is_refused_with_a_suggestion(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["reproduce", "fig66"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        "servesim: error: reproduce: no figure or claim 'fig66'; did you mean 'fig6'? expected all, or of systems,"
    )
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_verdicts_are_kept_and_listed_one_line_a_claim(tmp_path, capsys, monkeypatch):
    def fake(path, study):
        study.table("data", {"x": [1, 2], "y": ["a", "b"]})
        return Verdict("reproduced", f"Claim of {path.stem}.", "1 [0, 2].")

    monkeypatch.setattr(reproduce_cli, "_run", fake)
    out = tmp_path / "out"
    assert cli.main(["reproduce", "c6", "fig5_classic", "--quick", "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "fig5  reproduced: Claim of fig5_classic. 1 [0, 2].",
        "C6  reproduced: Claim of c6_disaggregation. 1 [0, 2].",
    ]
    assert (out / "fig5_classic" / "data.csv").read_text() == "x,y\n1,a\n2,b\n"
    assert cli.main(["reproduce", "FIG6", "--out", str(out)]) == 0
    lines = [line for line in (out / "results.md").read_text().splitlines() if line.startswith("| ")][1:]
    assert [line.split(" | ")[:3] for line in lines] == [
        ["| fig5", "reproduced", "quick"],
        ["| fig6", "reproduced", "full"],
        ["| C6", "reproduced", "quick"],
    ]
    page = (out / "paper.md").read_text()
    assert "## Fig. 5. Classic metrics against the rate" in page
    assert "[data.csv](fig6_smooth_goodput/data.csv)" in page
    assert "| fig6 | Smooth goodput has its best value at a rate in between | **reproduced** |" in page


def test_a_changed_copy_of_the_protocol_turns_its_knobs(tmp_path):
    text = reproduce_cli.EXPERIMENTS.joinpath("protocol.toml").read_text(encoding="utf-8")
    own = tmp_path / "own.toml"
    words = ["reproduce", "eq8", "--quick", "--out", "out", "--protocol", "own.toml"]
    command = [sys.executable, "-m", "servesim", *words]

    def call():
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    own.write_text(text.replace("alphas = [1.0, 2.5", 'alphas = ["dear", 2.5', 1))
    done = call()
    assert done.returncode == 2
    assert "own.toml: sweep.alphas.0: " in done.stderr
    assert done.stderr.count("\n") == 1
    own.write_text(
        text.replace("quick_seeds = 5", "quick_seeds = 2").replace("arrivals_s = 120.0", "arrivals_s = 8.0")
    )
    assert call().returncode == 0
    assert "| eq8 | " in (tmp_path / "out" / "results.md").read_text()
    assert "quick by own.toml" in (tmp_path / "out" / "results.md").read_text()
