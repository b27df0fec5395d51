"""Several targets at once: all must be kept, and the one that binds is said."""

import csv
import json
import re

import pytest

from simulator.cli import main as cli
from simulator.errors import InputError
from simulator.studies.capacity.target import parse_targets
from simulator.studies.plan.goals import parse_goals
from simulator.studies.targets import conjuncts
from tests.cli.test_capacity_cli import SCENARIO

BOTH = ["ttft_p90<=0.1", "ttft_p50<=0.05"]
NEVER = "tbt_mean<=1"


@pytest.fixture
def find(tmp_path, capsys):
    (tmp_path / "chat.toml").write_text(SCENARIO)

    def found(*targets, **options):
        words = [word for target in targets for word in ("--target", target)]
        words += ["--within", "0.2", "--most-requests", "600", "--out", str(tmp_path / "out"), "--jobs", "1"]
        words += [
            str(word) for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)
        ]
        code = cli.main(["capacity", str(tmp_path / "chat.toml"), *words])
        out, err = capsys.readouterr()
        answer = json.loads((tmp_path / "out" / "answer.json").read_text()) if code == 0 else None
        return code, answer, out, err

    return found


@pytest.mark.parametrize("text", ["a<=1 and b>=2", " a<=1  and\tb>=2 "])
def test_and_joins_targets(text):
    assert conjuncts(text) == ["a<=1", "b>=2"]
    both = "ttft_p99<=1 and token_slo>=0.9"
    assert [target.key for target in parse_targets([both, "stable"])] == [
        "latency.ttft_s.p99", "token_slo.attainment", "capacity.backlog_growth",
    ]  # fmt: skip
    known = ["latency.ttft_s.p99", "token_slo.attainment"]
    assert parse_goals(both, "p", known) == parse_goals(both.split(" and "), "p", known)
    with pytest.raises(InputError, match="expected KEY<=NUMBER"):
        parse_targets(["ttft_p99<=1 and"])


def test_the_least_rate_is_the_answer_and_its_target_binds(find):
    _, alone, *_ = find(BOTH[1])
    _, other, *_ = find(BOTH[0])
    for targets in (BOTH, BOTH[::-1], [" and ".join(BOTH)]):
        code, together, out, _ = find(*targets)
        assert code == 0
        assert together["binds"] == BOTH[1]
        assert together["target"] == " and ".join(targets)
        assert together["rate"] == pytest.approx(alone["rate"], rel=0.2)
        assert together["rate"] < other["rate"]
        assert together["low"] <= together["rate"] <= together["high"]
        assert together["confidence"] == 0.95
        assert [each["binds"] for each in together["targets"]].count(True) == 1
        assert re.search(rf"binds +{BOTH[1]}", out)
    # One that is kept anyway takes few simulations
    _, together, out, _ = find(BOTH[1], NEVER)
    assert together["binds"] == BOTH[1]
    assert together["rate"] == pytest.approx(alone["rate"], rel=0.1)
    (kept,) = [each for each in together["targets"] if each["target"] == NEVER]
    assert kept["low"] >= together["rate"]  # shown to hold where the other one fails
    assert "which is as far as it matters" in out


def test_an_objective_is_best_up_to_where_the_bounds_hold(find):
    _, answer, *_ = find("smooth", BOTH[0])
    assert answer["binds"] == BOTH[0]
    _, answer, *_ = find("smooth", "tbt_mean<=5")
    assert answer["binds"] == "smooth"


def test_no_interval_of_a_time_reaches_below_0(find):
    _, answer, out, _ = find("ttft_p90<=0.1")
    assert all(each["low_95"] is None or each["low_95"] >= 0 for each in answer["shown"])
    assert "[-" not in out


@pytest.mark.parametrize(
    ("targets", "error"),
    [
        (["smooth", "token_slo"], "there is one best rate for each"),
        (["ttft_p99<=1", "ttft_p99<=1"], "given twice"),
        (["ttft_p99<=1", "ttft_p98<=1"], "no number 'ttft_p98'"),
    ],
)
def test_targets_that_do_not_go_together_are_refused(find, targets, error):
    code, _, _, err = find(*targets)
    assert code == 2
    assert error in err
    assert err.count("\n") == 1


def test_a_sweep_says_which_target_a_point_misses(tmp_path, capsys):
    (tmp_path / "s.toml").write_text(
        'target = "latency.ttft_s.p99 <= 100"\n[set]\n"workload.limit" = 20\n[axes]\n"workload.rate_scale" = [1.0]\n'
    )
    words = ["sweep", str(tmp_path / "s.toml"), "--out", str(tmp_path / "out"), "--jobs", "1"]
    assert cli.main(words) == 0
    assert "kept" in capsys.readouterr().out
    assert cli.main([*words, "--target", "ttft_p99<=0.0001 and token_slo>=0.1"]) == 0
    assert "missed: latency.ttft_s.p99 <= 0.0001" in capsys.readouterr().out
    (row,) = csv.DictReader((tmp_path / "out" / "sweep.csv").read_text().splitlines())
    assert row["target_missed"] == "latency.ttft_s.p99 <= 0.0001"
    assert cli.main([*words, "--target", "ttft_p98<=1"]) == 2
    assert "no number 'ttft_p98'" in capsys.readouterr().err
