"""``servesim compare --vary``: one key, many values, the same traffic, one table."""

import pytest

from simulator import cli
from simulator.comparison import comparison, varied
from tests.refusals import refusal

QUICK = ["--set", "workload.limit=40", "--set", "cluster.replicas=1"]


def test_a_few_values_stand_beside_one_another(capsys):
    assert cli.main(["compare", "--vary", "policy.scheduling=vllm_v1,orca", *QUICK]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["vllm_v1", "orca", "diff"]
    assert lines[-1].startswith("smooth goodput")


def test_many_values_have_a_row_each_the_best_first(capsys):
    values = ["vllm_v1", "orca", "static", "sarathi", "smooth"]
    vary = f"policy.scheduling={','.join(values)}"
    assert cli.main(["compare", "--vary", vary, "--set", "workload.rate_rps=20", *QUICK]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert sorted(row[0] for row in rows) == sorted(values)
    goodput = [float(row[10].replace(",", "")) for row in rows]
    assert goodput == sorted(goodput, reverse=True)
    assert [row[11:] for row in rows if row[0] == "vllm_v1"] == [["="]]


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
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["4", "64"]


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
    assert "to one" in comparison(["one", "b", "c", "d", "e"], [{}] * 5)
