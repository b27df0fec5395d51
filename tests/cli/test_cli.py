"""The command from the outside: what it prints, and what it saves."""

import json
import os
import pty
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from simulator.cli import main as cli
from simulator.scenario.scenario import Scenario, default_scenario
from tests.commands import servesim
from tests.saved_faults import unseal

TINY = """
[workload]
arrivals = "poisson"
rate_rps = 20
requests = 40
lengths = "chat_azure2023"
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_run_prints_classic_beside_smooth_and_saves_the_records(tiny, capsys):
    out = servesim(capsys, "run", tiny, "--out", "o", "--set", "slo.ttft_s=0.5")
    for words in ("KV cache", "blocks of 16 tokens", "TTFT <= 0.5 s", "smooth goodput", "of arrived", "40"):
        assert words in out
    assert "\x1b" not in out
    names = {path.name for path in Path("o").iterdir()}
    assert names == {
        "requests.parquet",
        "tokens.parquet",
        "work.parquet",
        "steps.parquet",
        "summary.json",
        "manifest.json",
        "overview.png",
    }
    requests, tokens = pq.read_table("o/requests.parquet"), pq.read_table("o/tokens.parquet")
    assert requests.num_rows == 40
    assert tokens.num_rows == sum(requests["output_tokens"].to_pylist())


def test_the_same_scenario_prints_the_same_bytes_and_takes_the_next_free_folder(tiny, capsys):
    first = servesim(capsys, "run", tiny, "--no-plot")
    second = servesim(capsys, "run", tiny, "--no-plot")
    assert first == second
    folders = sorted(path.name for path in Path("runs").iterdir())
    assert folders == ["tiny-1", "tiny-2"]
    assert not list(Path("runs").glob("*/overview.png"))
    for name in (
        "requests.parquet",
        "tokens.parquet",
        "steps.parquet",
        "work.parquet",
        "summary.json",
        "manifest.json",
    ):
        assert Path("runs/tiny-1", name).read_bytes() == Path("runs/tiny-2", name).read_bytes()


def test_print_scenario_is_a_scenario_file_and_runs_nothing(tiny, capsys):
    out = servesim(capsys, "run", tiny, "--print-scenario", "--set", "cluster.replicas=3")
    assert Scenario(**tomllib.loads(out)) == Scenario.from_toml(tiny, ["cluster.replicas=3"])
    assert not Path("runs").exists()
    out = servesim(capsys, "run", "--print-scenario")
    assert Scenario(**tomllib.loads(out)) == default_scenario()


def test_show_measures_saved_records_anew_without_simulating(tiny, capsys, monkeypatch):
    printed = servesim(capsys, "run", tiny, "--no-plot", "--out", "o")
    monkeypatch.setattr("simulator.cluster.simulate.simulate", None)
    tiny.unlink()
    assert servesim(capsys, "show", "o") == printed
    out = servesim(capsys, "show", "o", "--set", "user.v_s_per_token=0.001", "--set", "slo.ttft_s=0.2")
    assert "V = 0.001 s" in out
    assert "TTFT <= 0.2 s" in out
    assert out != printed


def test_compare_shows_differences_against_the_first(tiny, capsys):
    orca = Path("orca.toml")
    orca.write_text('policy.scheduling = "orca"\n' + TINY)
    twin = Path("twin.toml")
    twin.write_text(TINY)
    lines = servesim(capsys, "compare", tiny, orca, twin, "--out", "o", "--no-plot").splitlines()
    assert lines[0].split() == ["tiny", "orca", "diff", "twin", "diff"]
    ttft = next(line for line in lines if line.startswith("TTFT mean"))
    assert ttft.split()[-1] == "=", "the same scenario twice does not differ"
    assert ttft.split()[-3] == "%", "another policy does"
    summaries = [json.loads(Path("o", name, "summary.json").read_text()) for name in ("tiny", "orca")]
    means = [summary["latency"]["ttft_s"]["mean"] for summary in summaries]
    assert f"{100 * (means[1] - means[0]) / means[0]:+.1f} %" in ttft


def test_compare_refuses_other_traffic_unless_told(tiny, capsys):
    other = Path("other.toml")
    other.write_text(TINY.replace("= 20", "= 25"))
    assert cli.main(["compare", str(tiny), str(other)]) == 2
    assert "other serves other traffic than tiny: arrival_s of request 0 is" in capsys.readouterr().err
    assert cli.main(["compare", str(tiny), str(other), "--different-traffic"]) == 0
    captured = capsys.readouterr()
    assert "warning: other serves other traffic" in captured.err
    assert "TTFT mean" in captured.out


def test_compare_says_when_seeds_and_readers_differ(capsys, tmp_path):
    names = []
    for seed in (1, 2):
        path = tmp_path / f"s{seed}.toml"
        path.write_text(f"seed = {seed}\nworkload.limit = 20\nuser.v_s_per_token = 0.0{seed}\n")
        names.append(str(path))
    assert cli.main(["compare", *names]) == 0
    captured = capsys.readouterr()
    assert "seeds differ (1, 2)" in captured.err
    assert "all are measured with those of s1" in captured.err


@pytest.mark.parametrize(
    ("topic", "names"),
    [
        ("policies", ["vllm_v1", "orca", "power_of_two"]),
        ("gpus", ["h100-80gb-sxm", "a100-80gb-sxm"]),
        ("models", ["llama-3.1-8b", "qwen-2.5-14b"]),
        ("workloads", ["azure2023_conv", "chat_azure2023", "reasoning_servegen_deepseek_r1", "CC-BY-4.0"]),
    ],
)
def test_list_names_what_a_scenario_can_use(capsys, topic, names):
    out = servesim(capsys, "list", topic)
    for name in names:
        assert name in out


def test_warnings_stand_out(tiny, capsys):
    overload = ("--set", "workload.rate_rps=500", "--set", "workload.requests=400")
    out = servesim(capsys, "run", tiny, "--no-plot", *overload, "--set", "engine.num_gpu_blocks=1500")
    assert "WARNING: KV cache saturated: at least 95 % of its blocks in use for" in out
    assert "WARNING: unstable: " in out
    out = servesim(capsys, "run", tiny, "--no-plot", "--set", "run.horizon_s=1")
    assert "of arrived) had not finished when the run ended" in out


def test_the_price_is_also_given_per_smooth_good_token(tiny, capsys):
    out = servesim(capsys, "run", tiny, "--no-plot", "--out", "o")
    cost, worth = (
        json.loads(Path("o/summary.json").read_text())[name] for name in ("cost", "smooth_goodput")
    )
    price = cost["usd_per_million_smooth_good_tokens"]
    assert price == pytest.approx(cost["usd"] / worth["benefit_tokens"] * 1e6)
    assert price > cost["usd_per_million_output_tokens"]
    assert "per million smooth-good tokens" in out
    out = servesim(capsys, "show", "o", "--set", "user.alpha=1e6")
    assert re.search("none: their sum is not above 0 +US. per million smooth-good tokens", out)


def test_outputs_cut_at_max_model_len_are_said(tiny, capsys):
    Path("t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,50,5\n1,60,600\n")
    out = servesim(
        capsys, *("run", "--no-plot", "--set", "workload.trace=t.csv", "--set", "engine.max_model_len=100")
    )
    assert "WARNING: 1 request ended early at max_model_len = 100 tokens" in out


def test_a_run_cut_off_before_anything_arrived_can_be_shown(tiny, capsys):
    from simulator import Result, Scenario, run
    from simulator.results.tokens import joined

    whole = run(Scenario.from_toml(tiny))
    tables = {"requests": whole._requests, "tokens": joined(whole._tokens), "steps": whole._steps}
    none = {
        table: {name: column[:0] for name, column in columns.items()} for table, columns in tables.items()
    }
    Result(**none, manifest={**whole.manifest, "partial": True}).save("o")
    assert "0 requests" in servesim(capsys, "show", "o")


def test_a_run_without_a_file_is_named_after_its_traffic(tiny, capsys):
    Path("my_day.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,50,5\n")
    for sets, name in (
        (["workload.limit=5"], "azure2023-conv"),
        (["workload.trace=my_day.csv"], "my-day"),
        (["workload.trace=my_day.csv", "name=Tuesday"], "Tuesday"),
    ):
        out = servesim(capsys, "run", "--no-plot", *(word for item in sets for word in ("--set", item)))
        assert out.startswith(f"{name}, seed 0")
        assert Path("runs", f"{name}-1").exists()


def test_a_progress_bar_is_drawn_for_a_terminal_only(tiny):
    main, end = pty.openpty()
    command = [sys.executable, "-m", "simulator.cli.main", "run", "--set", "workload.limit=300", "--no-plot"]
    done = subprocess.run(
        command, stderr=end, stdout=subprocess.PIPE, env={"PYTHONPATH": _root(), "TERM": "xterm"}, check=True
    )
    os.close(end)
    shown = os.read(main, 100_000)
    os.close(main)
    assert b"requests" in shown
    assert b"s simulated" in shown
    assert b"\x1b" not in done.stdout


def _root() -> str:
    return str(Path(__file__).parent.parent.parent)


def test_results_saved_before_there_were_pools_are_still_shown(tmp_path, capsys):
    folder = tmp_path / "old"
    small = ("--set", "workload.limit=5", "--set", "cluster.replicas=2")
    assert cli.main(["run", "--no-plot", "--out", str(folder), *small]) == 0
    new = capsys.readouterr().out
    unseal(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["pools"]
    for key in set(manifest["scenario"]["cluster"]) - {"replicas"}:
        del manifest["scenario"]["cluster"][key]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert cli.main(["show", str(folder)]) == 0
    assert capsys.readouterr().out == new
