"""Studies: names are names, never paths, formulas or TeX; ranges and numbers of points have bounds."""

import csv
import errno
from pathlib import Path

import pytest

from simulator.cli import main as cli
from simulator.report.text import spreadsheet_cell
from simulator.results.folders import folder_named, whole
from tests.refusals import folder, refusal

__all__ = ["folder"]  # the fixture, used by every test here

PATHS = [
    "../../evil", "/tmp/evil", "..", ".", "../", "a/b", "a\\b", "~", "~/x", "C:evil", ".hidden", "a/../../b",
    "nul\x00x", "-rf", "   ", "...", "caf\u00e9", "\u202eabc", "a:b", "CON|x", "*?", "$HOME", "`id`", "a\nb",
]  # fmt: skip
HEAD = 'base = "s.toml"\n'
AXES = "[axes]\n"
RANGE = 'axes.workload.rate_scale: expected a range such as {from = 1.0, to = 8.0, steps = 4, scale = "log"}'
STUDIES = [
    (AXES + '"workload.rate_scale" = { from = 1.0, to = 2.0, steps = 1000000000 }', RANGE),
    (AXES + '"workload.rate_scale" = { from = 1.0, to = 2.0, steps = 10 ** 9 }', "not a readable TOML file"),
    (AXES + '"workload.rate_scale" = { from = 1.0, to = 2.0, steps = 1 }', RANGE),
    (AXES + '"workload.rate_scale" = { from = 1.0, to = 2.0, steps = -5 }', RANGE),
    (AXES + '"workload.rate_scale" = { from = 1.0, to = inf, steps = 5 }', RANGE),
    (AXES + '"workload.rate_scale" = { from = nan, to = 1.0, steps = 5 }', RANGE),
    (AXES + f'"workload.rate_scale" = {{ from = 1, to = 1{"0" * 400}, steps = 5 }}', RANGE),
    (AXES + '"workload.rate_scale" = { from = 0.0, to = 1.0, steps = 5, scale = "log" }', RANGE),
    (AXES + '"workload.rate_scale" = { from = 1.0, to = 2.0, steps = 5, scale = "exp" }', RANGE),
    (AXES + '"workload.rate_scale" = {}', RANGE),
    (AXES + '"workload.rate_scale" = []', "expected a list of values or a range"),
    (AXES + '"workload.rate_scale" = 5', "expected a list of values or a range"),
    (AXES + '"cluster.replicas" = [1, 1]', "the same simulation twice"),
    (AXES + '"cluster.replicas" = [1, 2, 1]', "the same simulation twice"),
    ("replications = 2\n" + AXES + "seed = [1, 2]", "seed is an axis beside replications = 2"),
    ("replications = 1000000000\n" + AXES + '"cluster.replicas" = [1, 2]', "2,000,000,000 points; expected at most"),
    ("replications = 0\n" + AXES + '"cluster.replicas" = [1, 2]', "replications: expected a whole number >= 1"),
    ("replications = 1.5\n" + AXES + '"cluster.replicas" = [1, 2]', "replications: expected a whole number >= 1"),
    ("replications = true\n" + AXES + '"cluster.replicas" = [1, 2]', "replications: expected a whole number >= 1"),
    ('[set]\n"cluster.replicas" = 3\n' + AXES + '"cluster.replicas" = [1, 2]', "is set and an axis; expected one"),
    (AXES + '"cluster.replicsa" = [1, 2]', "unknown key; did you mean 'replicas'?"),
    (AXES + '"cluster.replicas" = [-1]', "expected a number >= 1"),
    ("axes = 5", "axes: expected a table of scenario keys"),
    ("", "axes: missing; expected at least one key"),
    ("[[paired]]\nseed = [1, 2]\n'cluster.replicas' = [1]", "paired: expected as many values for each key"),
    ("paired = 5", "paired: expected tables [[paired]]"),
    ("metrics = 5\n" + AXES + "seed = [1, 2]", "metrics: expected a list"),
    ("bse = 5\n" + AXES + "seed = [1, 2]", "bse: unknown key"),
    ("set = 5\n" + AXES + "seed = [1, 2]", "set: expected a table of scenario keys"),
]  # fmt: skip
PLANS = [
    ("[space]\nreplicas = { from = 1, to = 1000000, steps = 1000000000 }", "steps from 2 to 100,000"),
    ("[space]\nreplicas = [0]", "space.replicas: expected whole numbers >= 1"),
    ("[space]\nreplicas = []", "space.replicas: expected a list of values or a range"),
    ("[space]\nreplicas = [1.5]", "space.replicas: expected whole numbers >= 1"),
]
FORMULAS = ["=cmd|' /C calc'!A0", "+1+cmd", "-2+3", "@SUM(A1)", "\tx", "\rx", "=1+1", "--help"]
NO_FORMULAS = ["", "-", "-5.0", "+3", "-1,000.5", "a=b", "vllm_v1", 5, -5.0, None, "1e-3", "-1e-3"]


@pytest.mark.parametrize("name", PATHS)
def test_a_name_is_no_path(name, tmp_path):
    found = folder_named(name)
    assert found.parent == Path("runs")
    assert (tmp_path / found).resolve().parent == (tmp_path / "runs").resolve()
    assert found.name not in ("", ".", "..")


@pytest.mark.parametrize(("text", "sentence"), STUDIES)
def test_a_wrong_study_is_refused_before_anything_is_built(text, sentence, capsys):
    Path("study.toml").write_text(f"{HEAD}{text}\n")
    assert sentence in refusal(capsys, "sweep", "study.toml")
    assert not Path("runs/study/sweep.csv").exists()


@pytest.mark.parametrize(("text", "sentence"), PLANS)
def test_a_wrong_plan_is_refused_before_anything_is_built(text, sentence, capsys):
    Path("p.toml").write_text(f'{HEAD}target = ["latency.ttft_s.p99 <= 1"]\n{text}\n')
    assert sentence in refusal(capsys, "plan", "p.toml")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_is_no_formula(text):
    assert spreadsheet_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", NO_FORMULAS)
def test_other_cells_are_as_they_are(value):
    assert spreadsheet_cell(value) == value


def test_names_of_points_are_neither_tex_nor_formulas_nor_paths(capsys):
    Path("study.toml").write_text(
        f"{HEAD}name = '../../$\\frac{{$'\n[[paired]]\nname = [\"=cmd|' /C calc'!A0\", '$\\frac{{$']\nseed = [1, 2]\n"
    )
    assert cli.main(["sweep", "study.toml", "--jobs", "1"]) == 0
    (made,) = Path("runs").iterdir()
    with (made / "sweep.csv").open(newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert names == ["'=cmd|' /C calc'!A0", "$\\frac{$"]
    assert (made / "sweep.png").stat().st_size > 5_000
    capsys.readouterr()


def test_a_study_of_which_nothing_can_be_simulated_says_so(capsys):
    Path("t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,900000,5\n")
    Path("study.toml").write_text(f"{HEAD}{AXES}seed = [1, 2]\n")
    assert cli.main(["sweep", "study.toml", "--jobs", "1"]) == 2
    assert "study.toml: all points failed; expected one that can be simulated: " in capsys.readouterr().err


def test_a_full_disk_names_the_file(tmp_path):
    with (
        pytest.raises(OSError, match=r"No space left on device: '.*answer\.json'"),
        whole(tmp_path / "answer.json"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
