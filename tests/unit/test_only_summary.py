"""A run of which only the summary is asked: the same summary, whatever happens in it, by one process or several."""

import json
from multiprocessing import get_all_start_methods

import pytest

from simulator import Scenario
from simulator.cli.main import main
from simulator.cluster import handing_over
from simulator.cluster import simulate as engine
from simulator.errors import InputError, StallError
from simulator.metrics import Slo, _segments
from simulator.results import folding, result, tokens
from simulator.results.folded_tokens import FoldedTokens
from simulator.scenario.run import run
from simulator.workload.build import build

BUSY = {
    "workload": {"arrivals": "poisson", "rate_rps": 40.0, "requests": 240, "lengths": "chat_azure2023"},
    "cluster": {"replicas": 3},
    "policy": {"routing": "round_robin"},
    "slo": {"ttft_s": 0.05, "tail_tbt_s": 0.02},
    "user": {"v_s_per_token": 0.02},
}
IDLE = "from simulator.policy import Scheduler\n\n\nclass Idle(Scheduler):\n    def plan(self, step):\n        pass\n"


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """No run is too small to be measured while it goes on, a few tokens at a time."""
    for file in (tokens, result):
        monkeypatch.setattr(file, "KEPT_TOKENS", -1)
    monkeypatch.setattr(_segments, "PART", 700)
    monkeypatch.setattr(folding, "FOLD_TOKENS", 2000)
    monkeypatch.setattr(handing_over, "EVENTS_BETWEEN", 20)
    monkeypatch.setattr(engine, "EVENTS_BETWEEN_LOOKS", 20)
    monkeypatch.setattr(engine, "WORTH_SPLITTING", 1)


def made(level, more, **asked):
    """The result at a trace level, with sections replaced."""
    sections = BUSY | {name: BUSY.get(name, {}) | section for name, section in more.items()}
    sections["run"] = sections.get("run", {}) | {"trace_level": level}
    try:
        return run(Scenario(**sections), **asked)
    except StallError as error:
        return error.result


def both(more, processes=1, **asked):
    """The result that is kept, and the one of which only the summary is asked."""
    return made("tokens", more, **asked), made(
        "summary", more, only_summary=True, processes=processes, **asked
    )


FOLDED = {
    "plain": {},
    "whole": {"metrics": {"window": "whole"}, "user": {"v_s_per_token": 0.02, "origin": "first_token"}},
    "looked at": {"policy": {"routing": "least_loaded", "scheduling": "smooth"}},
    "sglang": {"policy": {"scheduling": "sglang", "routing": "round_robin"}},
    "preempting": {"engine": {"num_gpu_blocks": 600, "max_model_len": 8192}, "slo": {}},
    "cut off": {"run": {"horizon_s": 4.0}},
    "thinking": {"user": {"v_s_per_token": 0.02, "thinking_share": 0.3, "reads": "sentence"}},
}
KEPT = {
    "trimmed": {"run": {"trim_warmup": 0.1}},
    "seconds": {"metrics": {"window": 3.0}},
    "to the end": {"user": {"v_s_per_token": 0.02, "unserved": "wait_to_end"}},
    "asked for": {"metrics": {"also": ["fluid_rate"]}},
    "leaving": {"policy": {"abandonment": {"name": "missed_slo", "ttft_s": 0.1}}},
    "faults": {"cluster": {"replicas": 2, "faults": {"mtbf_s": 2.0, "repair_s": 0.5}}},
    "late": {"policy": {"delivery": {"name": "jitter"}}},
    "clients": {"workload": {"concurrency": 20, "arrivals": "burst", "rate_rps": None}},
    "electricity": {"hardware": {"usd_per_kwh": 0.1}},
}


@pytest.mark.parametrize("kind", [*FOLDED, *KEPT])
def test_the_summary_is_that_of_a_run_that_is_kept(kind):
    more = FOLDED.get(kind) or KEPT.get(kind) or {}
    if kind in KEPT:  # nothing is different there
        more = more | {"workload": more.get("workload", {}) | {"requests": 40}}
    kept, folded = both(more)
    assert isinstance(folded._tokens, FoldedTokens) == (kind in FOLDED)
    assert folded.summary() == kept.summary()
    assert folded.manifest | {"scenario": None, "trace_level": None} == kept.manifest | {
        "scenario": None,
        "trace_level": None,
    }


@pytest.mark.skipif("fork" not in get_all_start_methods(), reason="needs fork")
def test_processes_measure_what_one_does(monkeypatch):
    monkeypatch.setattr("simulator.cluster.shards.MOST_AHEAD", 0)
    kept, folded = both({}, processes=2)
    assert folded.summary() == kept.summary()


@pytest.mark.skipif("fork" not in get_all_start_methods(), reason="needs fork")
def test_a_mistake_in_a_process_is_named(tmp_path):
    policy = tmp_path / "wrong.py"
    policy.write_text(IDLE.replace("pass", "raise KeyError('oops')"))
    more = {"policy": {"scheduling": str(policy)}, "workload": {"requests": 30}}
    with pytest.raises(InputError, match=r"wrong.py: line 6: KeyError: 'oops'"):
        made("summary", more, only_summary=True, processes=2)


def test_one_that_is_stopped_is_measured_as_far_as_it_came():
    def stop():
        looks = iter(range(8))
        return lambda: next(looks, None) is None

    kept = made("tokens", {}, should_stop=stop())
    folded = made("summary", {}, only_summary=True, should_stop=stop())
    assert folded.partial
    assert 0 < folded.log.n < 240
    assert folded.summary() == kept.summary()


def test_one_that_stalls_is_measured_too(tmp_path):
    policy = tmp_path / "idle.py"
    policy.write_text(IDLE)
    kept, folded = both({"policy": {"scheduling": str(policy)}, "workload": {"requests": 30}})
    assert "never schedules" in folded.summary()["stalled"]
    assert folded.summary() == kept.summary()


def test_one_with_few_tokens_after_all_is_exact(monkeypatch):
    scenario = Scenario(**BUSY)
    asked_for = int(build(scenario.workload, scenario.seed).output_tokens.sum())
    for file in (tokens, result):
        monkeypatch.setattr(file, "KEPT_TOKENS", asked_for - 1)
    kept, folded = both({"run": {"horizon_s": 4.0}})
    assert isinstance(folded._tokens, FoldedTokens)
    assert folded.summary() == kept.summary()
    assert "exact" not in folded.summary()["latency"]["tbt_s"]


def test_nothing_else_can_be_asked_of_it():
    folded = made("summary", {}, only_summary=True)
    with pytest.raises(InputError, match="only the summary of this run was kept"):
        folded.summary(slo=Slo(ttft_s=1.0))
    with pytest.raises(InputError, match="only the summary of this run was kept"):
        folded.log.source.part_delivered_s(0)
    assert made("summary", {}).summary(slo=Slo(ttft_s=1.0))["slo"] != folded.summary()["slo"]


def test_the_command_asks_for_no_more_where_it_draws_nothing(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(folding.Fold, "begin", lambda *a, own=folding.Fold.begin: begun.append(a) or own(*a))
    settings = ["workload.limit=60", "cluster.replicas=2", "policy.routing=round_robin"]
    arguments = ["run", "--jobs", "1", *(f"--set={setting}" for setting in settings), "--no-plot"]
    for number, more in enumerate((["--trace-level", "summary"], ["--trace-level", "requests"])):
        assert main([*arguments, *more, "--out", str(tmp_path / str(number))]) == 0
    assert len(begun) == 1
    one, other = (json.loads((tmp_path / name / "summary.json").read_text()) for name in "01")
    assert one == other
    assert sorted(path.name for path in (tmp_path / "0").iterdir()) == ["manifest.json", "summary.json"]
