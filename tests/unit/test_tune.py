"""``servesim tune``: what is searched, how trials are classed and judged, and that a search can be relied upon."""

import random
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.cli import main as cli
from simulator.errors import InputError
from simulator.scenario.scenario import Scenario
from simulator.studies.plan.goals import PER_SECOND, Goal
from simulator.studies.points import Point
from simulator.studies.tune import tune
from simulator.studies.tune.annealing import COOL_DOWN, FAILURES, Annealing, Avoided
from simulator.studies.tune.methods import RANDOM, TBA_TPE, make
from simulator.studies.tune.space import Knob, knob_of, parse, read_file, space_of
from simulator.studies.tune.trials import CRASH_VIOLATION, Judge, TunedTrial, point_of, simulate
from simulator.studies.tune.tune import SettingsSearch, judge_of, run_search
from simulator.studies.workers import ALONE, Workers

SPACE = space_of([
    parse("engine.max_num_seqs=2..64:log"), parse("engine.gpu_memory_utilization=0.5..0.95"),
    parse("policy.scheduling=vllm_v1,smooth,srpt"),
])  # fmt: skip
TTFT = Goal("latency.ttft_s.p99", False, 0.5)
JUDGE = Judge(PER_SECOND, True, (TTFT,))


def base(**more):
    workload = {
        "arrivals": "poisson",
        "rate_rps": 6.0,
        "requests": 20,
        "prompt_tokens": 400,
        "output_tokens": 40,
    }
    return Scenario(
        hardware={"gpu": "a100-40gb", "model": "qwen-2.5-14b"}, workload={**workload, **more}, slo={}
    )


def search(method=RANDOM, trials=10, **more):
    scenario = base()
    judge = judge_of(scenario, None, ["ttft_p99 <= 0.5"])
    return SettingsSearch(scenario, None, SPACE, judge, method, trials, **{"batch": 3, "checks": 2, **more})


def test_a_range_has_its_ends_and_its_kind_of_numbers():
    seqs, share, policy = SPACE.knobs
    assert [seqs.value(at) for at in (0.0, 0.5, 1.0)] == [2, 11, 64]
    assert [share.value(at) for at in (0.0, 0.5, 1.0)] == [0.5, 0.725, 0.95]
    assert [policy.value(at) for at in (0, 1, 2)] == ["vllm_v1", "smooth", "srpt"]
    assert parse("run.x=true,false,none").choices == (True, False, None)
    assert knob_of("", "a", {"from": 4, "to": 128, "scale": "log"}) == Knob("a", 4, 128, True, True)
    assert parse("a=1e-3..1e-1:log").log


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.booleans(), st.floats(0, 1))
def test_no_value_is_outside_its_range(low, more, log, at):
    knob = parse(f"a={low}..{low + more}{':log' if log else ''}")
    assert low <= knob.value(at) <= low + more
    assert isinstance(knob.value(at), int)


@pytest.mark.parametrize(
    "line", ["x", "=1..2", "x=", "x=1", "x=2..1", "x=1..1", "x=a..b", "x=0..2:log", "x=1,1", "x=1,,2", "x=1..nan"]
)  # fmt: skip
def test_a_bad_line_is_one_sentence(line):
    with pytest.raises(InputError, match=r"^--space .*expected"):
        parse(line)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[space]\na = 3\n", "space.a: expected a list of values, or a range"),
        ("[space]\na = { from = 1, to = 2, steps = 3 }\n", "space.a: expected a list of values, or a range"),
        ("space = 3\n", "space: expected a table"),
        ("objective = 3\n", "objective: expected a number of a summary"),
        ("trials = 3\n", "trials: unknown key"),
    ],
)
def test_a_bad_file_names_its_key(tmp_path, text, said):
    (tmp_path / "space.toml").write_text(text)
    with pytest.raises(InputError, match=said):
        read_file(tmp_path / "space.toml")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"trials": 0}, "--trials 0: expected"),
        ({"batch": 0}, "--batch 0: expected"),
        ({"checks": -1}, "--checks -1: expected"),
        ({"method": "luck"}, "--method luck: expected one of tba-tpe, tpe, tpe-multivariate, random"),
        ({"space": space_of([parse("engine.max_num_seqz=1..4")])}, "unknown key; did you mean 'max_num_seqs'"),
        ({"space": space_of([parse("policy.scheduling=nope,nil")])}, "--space policy.scheduling: .*nope"),
    ],
)  # fmt: skip
def test_a_search_that_cannot_be_is_refused(more, said):
    with pytest.raises(InputError, match=said):
        replace(search(), **more)


def test_nothing_to_search_and_the_seed_are_refused():
    for knobs in ([], [parse("seed=1..9")], [SPACE.knobs[0]] * 2):
        with pytest.raises(InputError, match=r"^--space: "):
            space_of(knobs)
    with pytest.raises(InputError, match="--longest-s"):
        judge_of(base(), longest_s=0.0)


def found(settings, judge=JUDGE, scenario=None):
    point = point_of(scenario or base(), None, settings, judge.longest_s, 0)
    return judge.judged(1, settings, {}, simulate(point) if isinstance(point, Point) else point)


def test_each_failure_has_its_class_and_its_sentence():
    small = found({"engine.gpu_memory_utilization": 0.6})
    assert (small.outcome, small.violation) == ("out of memory", CRASH_VIOLATION)
    assert "does not fit a100-40gb" in small.reason
    long = found({"engine.gpu_memory_utilization": 0.75, "engine.max_model_len": 32000})
    assert long.outcome == "out of memory"
    assert found({"engine.max_num_seqs": 0}).outcome == "invalid"
    assert found({"engine.max_model_len": 300}).outcome == "invalid"
    late = found({"engine.max_num_seqs": 1}, replace(JUDGE, longest_s=2.0))
    assert late.outcome == "too slow"
    assert late.reason == "has not served all of its traffic after 2 s"
    assert found({}, replace(JUDGE, longest_s=600.0)).outcome == "kept"
    assert all(each.score is None and not each.feasible for each in (small, long, late))
    missed = found({"engine.max_num_seqs": 1})
    assert missed.outcome == "missed"
    assert missed.reason.startswith("misses latency.ttft_s.p99 <= 0.5: ")
    assert missed.violation > 0
    assert found({}, replace(JUDGE, goals=())).outcome == "kept"


def made(number, score, violation=0.0, place=None):
    outcome = "missed" if violation else "kept"
    if score is None:
        outcome, violation = "out of memory", CRASH_VIOLATION
    return TunedTrial(number, {}, place or {}, outcome, "", score, violation, {})


def test_the_best_keeps_all_else_misses_least():
    trials = [made(0, 9.0, 0.2), made(1, 3.0), made(2, 5.0), made(3, None), made(4, 5.0)]
    assert JUDGE.best(trials).number == 2
    assert JUDGE.best([made(0, 9.0, 0.2), made(1, 1.0, 0.1), made(2, None)]).number == 1
    assert JUDGE.best([made(0, None)]) is None


def test_values_that_fail_three_times_in_a_row_are_avoided_for_a_while():
    knobs = [Knob("a", choices=(1, 2)), Knob("b", choices=(1, 2))]
    avoided = Avoided(knobs)
    for now in range(1, FAILURES + 1):
        assert avoided.allows({"a": 0, "b": 1}, now)
        avoided.note(made(now, None, place={"a": 0, "b": now % 2}), now)
    assert not avoided.allows({"a": 0, "b": 1}, FAILURES)
    assert avoided.allows({"a": 1, "b": 1}, FAILURES)
    assert avoided.allows({"a": 0, "b": 1}, FAILURES + COOL_DOWN)
    avoided = Avoided(knobs)
    for now, score in enumerate([None, None, 1.0, None, None], 1):
        avoided.note(made(now, score, place={"a": 0, "b": 0}), now)
    assert avoided.allows({"a": 0, "b": 0}, 5)


@given(st.integers(0, 10**6), st.lists(st.sampled_from([None, 0.0, 0.3, -1.0]), min_size=12, max_size=12))
def test_annealing_stays_within_the_space_whatever_it_is_told(seed, scores):
    annealing = Annealing(SPACE, random.Random(seed), 12)
    for number, score in enumerate(scores):
        (place,) = annealing.ask(1)
        assert all(0 <= place[key] <= 1 for key in list(place)[:2])
        assert place["policy.scheduling"] in (0, 1, 2)
        annealing.tell([made(number, score, 0.0 if score is None else max(-score, 0), place)])


@pytest.mark.parametrize("method", [TBA_TPE, RANDOM])
def test_the_same_is_found_with_more_processes_and_after_a_stop(tmp_path, method):
    if method != RANDOM:
        pytest.importorskip("optuna")
    one = run_search(search(method), tmp_path / "a", ALONE, lambda *_: None)

    class StopError(Exception):
        pass

    def stop(done, total):
        if done == 6:
            raise StopError

    with pytest.raises(StopError):
        run_search(search(method), tmp_path / "b", Workers(2), stop)
    kept = len(list((tmp_path / "b/trials").iterdir()))
    assert kept >= 3
    two = run_search(search(method), tmp_path / "b", Workers(2), lambda *_: None)
    assert one.trials == two.trials
    assert one.check == two.check
    assert [trial.number for trial in one.trials] == list(range(11))


def test_nothing_is_simulated_twice(tmp_path, monkeypatch):
    first = run_search(search(), tmp_path, ALONE, lambda *_: None)
    monkeypatch.setattr(tune, "simulate", lambda point: pytest.fail("simulated again"))
    assert run_search(search(), tmp_path, ALONE, lambda *_: None).trials == first.trials


def test_another_seed_tries_other_settings():
    asked = [make(RANDOM, SPACE, 9, seed).ask(3) for seed in (0, 0, 1)]
    assert asked[0] == asked[1] != asked[2]


def test_without_optuna_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        InputError, match=r"Optuna is not installed; expected: pip install 'servesim\[tune\]'"
    ):
        make(TBA_TPE, SPACE, 9, 0)


def test_the_command_leaves_a_scenario_that_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chat.toml").write_text(base().to_toml())
    (tmp_path / "space.toml").write_text(
        'target = ["ttft_p99 <= 0.5"]\n[space]\n"engine.gpu_memory_utilization" = { from = 0.5, to = 0.95 }\n'
    )
    words = [
        "tune",
        "chat.toml",
        "--space",
        "space.toml",
        "--method",
        "random",
        "--trials",
        "6",
        "--out",
        "o",
    ]
    assert cli.main([*words, "--jobs", "1"]) == 0
    printed = capsys.readouterr().out
    assert "out of memory, such as trial" in printed
    assert "all targets kept with 5 of 5" in printed
    names = {path.name for path in (tmp_path / "o").iterdir()}
    assert names >= {"tune.parquet", "tune.csv", "best.toml", "tune.png", "trials"}
    assert cli.main(["check", "o/best.toml"]) == 0
    assert cli.main([*words, "--target", "ttft_p99<=0.0001", "--jobs", "1", "--checks", "0"]) == 1
    assert "no trial keeps all targets; nearest: " in capsys.readouterr().out
    assert cli.main([*words, "--set", "hardware.model=llama-3.1-70b", "--jobs", "1"]) == 2
    assert "all trials failed" in capsys.readouterr().err
