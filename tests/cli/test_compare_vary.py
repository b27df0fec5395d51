"""``servesim compare --vary``: one key, many values, the same traffic, one table."""

import pytest

from simulator.cli import main as cli
from simulator.report.comparison import comparison, over_seeds, varied
from tests.refusals import refusal

QUICK = ["--set", "workload.limit=40", "--set", "cluster.replicas=1"]


def test_a_few_values_stand_beside_one_another(capsys):
    assert cli.main(["compare", "--vary", "policy.scheduling=vllm_v1,orca", *QUICK]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["vllm_v1", "orca", "diff"]
    assert lines[1].startswith("smooth goodput (tokens/s)")  # the answer first
    assert lines[-4].startswith("rates are over ")
    assert lines[-2] == "user model: reader_20tps"
    assert lines[-1] == "engine: vllm-0.24"


def test_which_engine_each_row_ran_on_is_said(capsys):
    native = ["--set", "engine.profile=native"]
    assert cli.main(["compare", "--vary", "policy.scheduling=vllm_v1,orca,static", *QUICK, *native]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "not one engine, so differences are the engines', too; vllm-0.24: vllm_v1; prototype: orca, static"
    )
    alone = "engine.profile=vllm-0.24,sglang-0.5"
    assert cli.main(["compare", "--vary", alone, *QUICK]) == 0
    assert "vllm-0.24: vllm-0.24; sglang-0.5: sglang-0.5" in capsys.readouterr().out


def test_many_values_have_a_row_each_the_best_first(capsys):
    values = ["vllm_v1", "orca", "static", "sarathi", "smooth"]
    vary = f"policy.scheduling={','.join(values)}"
    assert cli.main(["compare", "--vary", vary, "--set", "workload.rate_rps=20", *QUICK]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:-5]]
    assert sorted(row[0] for row in rows) == sorted(values)
    goodput = [float(row[1].replace(",", "")) for row in rows]
    assert goodput == sorted(goodput, reverse=True)
    assert [row[2] for row in rows if row[0] == "vllm_v1"] == ["="]


def test_values_of_any_kind(tmp_path, capsys):
    scenario = tmp_path / "mine.toml"
    scenario.write_text('[workload]\nlimit = 30\n[hardware]\ngpu = "a100-80gb-sxm"\n')
    assert (
        cli.main(
            ["compare", str(scenario), "--vary", "engine.max_num_seqs=4,64", "--out", str(tmp_path / "o")]
        )
        == 0
    )
    assert capsys.readouterr().out.splitlines()[0].split() == ["4", "64", "diff"]
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [
        "4",
        "64",
        "compare.png",
        "compare.svg",
    ]


RANDOM = [
    "--set", "workload.arrivals=poisson", "--set", "workload.rate_rps=20", "--set", "workload.requests=60",
    "--set", "workload.lengths=chat_sharegpt_vllm", "--set", "cluster.replicas=1",
]  # fmt: skip


def test_over_seeds_a_difference_has_an_interval_or_is_not_shown(capsys, tmp_path):
    out = tmp_path / "out"
    vary = "policy.scheduling=vllm_v1,static"
    assert cli.main(["compare", "--vary", vary, "--seeds", "3", "--no-plot", "--out", str(out), *RANDOM]) == 0
    printed = capsys.readouterr()
    rows = printed.out.splitlines()
    assert "difference [95 %]" in rows[0]
    ttft = next(row for row in rows if row.startswith("TTFT mean"))
    assert "% [" in ttft
    assert "means over 3 seeds" in rows[-5]
    assert "were made, and those without ? hold together (Holm, 95 %)" in rows[-4]
    assert sorted(path.name for path in (out / "static").iterdir()) == ["seed-0", "seed-1", "seed-2"]


def test_the_same_twice_shows_no_difference(capsys):
    vary = "engine.max_num_seqs=500,501"  # neither is ever reached
    assert cli.main(["compare", "--vary", vary, "--seeds", "2", *RANDOM]) == 0
    rows = capsys.readouterr().out.splitlines()[1:-7]
    assert rows
    assert all(row.split()[-1] == "=" for row in rows)


def test_where_seeds_change_nothing_there_are_no_intervals(capsys):
    assert cli.main(["compare", "--vary", "policy.scheduling=vllm_v1,orca", "--seeds", "2", *QUICK]) == 0
    printed = capsys.readouterr().out
    assert "[" not in printed
    assert printed.splitlines()[-4].startswith("one trace, no spread")


def test_differences_over_seeds_are_paired():
    def run(value):
        return {
            "throughput": {"requests_per_s": value},
            "window": {"duration_s": 9.0, "rule": "arrivals"},
            "states": {"arrived": 9},
        }

    noisy = [[run(1.0), run(9.0), run(5.0)], [run(1.1), run(9.1), run(5.1)], [run(9.0), run(1.0), run(5.0)]]
    row = str(over_seeds(["a", "b", "c"], noisy)).splitlines()[1]
    assert "+2.0 % [+2.0, +2.0]" in row
    assert row.rstrip().endswith("no difference shown")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--vary", "policy.scheduling"], "expected a key and two or more different values"),
        (["--vary", "policy.scheduling=orca"], "expected a key and two or more different values"),
        (["--vary", "seed=1,1"], "expected a key and two or more different values"),
        (["--vary", "seed=1,,2"], "expected a key and two or more different values"),
        (["--vary", "policy.scheduling=orca,orka"], "did you mean 'orca'?"),
        (["--vary", "seed=1,2", "a.toml", "b.toml"], "expected at most one"),
        (["a.toml"], "expected two or more scenario files, got 1 (or --vary)"),
        ([], "expected two or more scenario files, got 0 (or --vary)"),
        (["--vary", "workload.concurrency=2,3", *QUICK], "expected the same [workload] and seed"),
    ],
)
def test_what_is_wrong_is_said(capsys, arguments, says):
    assert says in refusal(capsys, "compare", *arguments)


def test_names_and_settings():
    assert varied(" a.b = x , y") == (["x", "y"], ["a.b=x", "a.b=y"])
    assert "to one" in str(
        comparison(["one", "b", "c", "d", "e"], [{"window": {"duration_s": 9.0, "rule": "arrivals"}}] * 5)
    )
