"""Readers who are not steady, from the traffic to what is saved: columns, policies, windows, pictures, plans."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.studies.reader_models import MODELS, one_answer, picture
from policies.scheduling._smooth_readers import Readers
from policies.scheduling._smooth_worth import Worth
from simulator import Scenario, load, run
from simulator.errors import InputError
from simulator.metrics import UserModel
from simulator.metrics._accrued import accrued_benefit_tokens
from simulator.metrics._presets import PRESETS
from simulator.metrics._reader import benefit_tokens, idle_latency_s
from simulator.policy import IdleCost
from simulator.report.plots import overview
from simulator.report.report import report
from simulator.studies.plan.demands import demands
from simulator.studies.plan.goals import Goal
from simulator.testing import new_job
from simulator.workload import WorkloadSpec, build
from tests.unit.test_reading import BY_FIRST, USERS, logs

TRAFFIC = {
    "arrivals": "poisson", "rate_rps": 30.0, "requests": 60, "prompt_tokens": 300, "output_tokens": 150
}  # fmt: skip
THINKING = [[0.5, 0.0], [0.5, 60.0]]


def scenario(policy="vllm_v1", workload=None, **user):
    return Scenario(
        engine={"num_gpu_blocks": 1200, "max_num_seqs": 24},
        policy={"scheduling": policy},
        workload={**TRAFFIC, **(workload or {})},
        user=user,
    )


def test_thinking_is_drawn_and_carried_to_results():
    result = run(scenario(workload={"thinking": THINKING}))
    thinking = np.array(result.requests()["thinking_tokens"])
    assert set(thinking.tolist()) == {0, 60}
    assert 15 < np.count_nonzero(thinking) < 45
    assert "thinking in 0.5 with 0 tokens, 0.5 with 60 tokens" in result.manifest["workload"]["source"]
    assert "thinking_tokens" not in run(scenario()).requests().column_names


def test_at_least_one_token_of_an_answer_is_read():
    workload = build(WorkloadSpec(**TRAFFIC, thinking=[[1.0, 1000.0]]), 0)
    assert set(workload.thinking_tokens.tolist()) == {149}


def test_speeds_are_lognormal_with_the_median_and_the_variation_that_are_asked_for():
    workload = build(WorkloadSpec(**{**TRAFFIC, "requests": 20_000}, readers_median_s=0.2, readers_cv=0.5), 0)
    v_s = workload.v_s_per_token
    assert np.median(v_s) == pytest.approx(0.2, rel=0.02)
    assert v_s.std() / v_s.mean() == pytest.approx(0.5, rel=0.03)
    assert np.log(v_s).std() == pytest.approx(np.sqrt(np.log(1.25)), rel=0.02)
    other = build(WorkloadSpec(**{**TRAFFIC, "requests": 20_000}), 0)
    assert other.arrival_s.tolist() == workload.arrival_s.tolist()


def test_a_reader_keeps_its_speed_through_a_session():
    keys = {**TRAFFIC, "session_turns": 4.0, "think_s": 1.0, "readers_median_s": 0.2, "readers_cv": 0.5}
    workload = build(WorkloadSpec(**keys), 0)
    for session in np.unique(workload.session):
        assert len(set(workload.v_s_per_token[workload.session == session].tolist())) == 1


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"readers_median_s": 0.2}, "workload.readers_cv: missing"),
        ({"readers_cv": 0.2}, "workload.readers_median_s: missing"),
        ({"readers": [[1.0, 0.1]], "readers_median_s": 0.2, "readers_cv": 1.0}, "expected one of the two"),
        ({"readers_median_s": 1e-12, "readers_cv": 1.0}, "workload.readers_median_s: expected at least 1e-09"),
        ({"thinking": [[0.5, 10.0]]}, "workload.thinking: expected shares that add up to 1"),
        ({"thinking": [[1.0, 10.5]]}, "workload.thinking: expected [share, whole number of tokens]"),
        ({"thinking": [[1.0]]}, "workload.thinking: expected [share, whole number of tokens]"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(keys, says):
    with pytest.raises((InputError, ValueError)) as found:
        WorkloadSpec(**TRAFFIC, **keys)
    assert says in str(found.value)


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("policy", ["vllm_v1", "smooth", "edf", "least_slack", "andes"])
def test_every_preset_runs_under_policies_that_look_at_deadlines(name, policy):
    result = run(scenario(policy, preset=name))
    summary = result.summary()
    assert summary["states"]["completed"]["count"] == 60
    assert summary["smooth_goodput"]["user_model"] == name
    assert np.isfinite(summary["smooth_goodput"]["benefit_tokens"])
    assert "User model" in str(report(result.manifest, summary))


def test_smooth_serves_the_readers_who_wait_sooner_than_those_told_otherwise():
    """It knows the model: told of units, it keeps deadlines of units that it misses when told of a steady reader."""
    waits = {}
    for told in ("token", 60):
        log = run(scenario("smooth", {"rate_rps": 60.0}, v_s_per_token=0.1, reads=told)).log
        waits[told] = float(idle_latency_s(log, UserModel(v_s_per_token=0.1, reads=60)).mean())
    assert waits[60] < waits["token"]


@given(
    USERS | BY_FIRST,
    st.lists(st.floats(0, 2, allow_subnormal=False), min_size=1, max_size=12),
    st.integers(0, 6),
)
def test_smooth_keeps_the_need_of_each_reader(user, gaps_s, thinking):
    """The next token is needed at its deadline, later by what its reader has waited so far."""
    readers = Readers(Worth(IdleCost(alpha=2.0, origin=user.origin), 0.3))
    job = new_job(
        arrival_s=1.0, pace_s=user.v_s_per_token, allowance_s=user.first_token_allowance_s,
        curve=user.curve, thinking_tokens=thinking,
    )  # fmt: skip
    times_s = 1.0 + np.cumsum(gaps_s)
    for i, time_s in enumerate(times_s):
        if i == 0:
            readers.join(job, time_s, 1)
        else:
            readers.tick((time_s,), i)
        clock_s = 1.0 + user.first_token_allowance_s
        first = i if user.origin == "first_token" and i < thinking else thinking
        if user.origin == "first_token":
            clock_s = times_s[min(first, i)]
        begins = (
            first if user.origin == "first_token" else 0
        )  # what came before the clock began counts for nothing
        late_s = max(
            times_s[m] - clock_s - user.v_s_per_token * job.place_of(m + 1) for m in range(begins, i + 1)
        )
        need_s = clock_s + user.v_s_per_token * job.place_of(i + 2) + max(late_s, 0.0)
        assert readers.need_s(0, i + 1) == pytest.approx(need_s, abs=1e-9)


@given(logs(), USERS | BY_FIRST, st.floats(0.1, 0.9))
def test_windows_side_by_side_add_up(log, user, at):
    user = replace(user, unserved="wait_ends")
    middle_s = log.start_s + at * log.window_s
    first = replace(log, end_of_run_s=middle_s)
    second = replace(log, start_s=float(np.nextafter(middle_s, np.inf)))
    whole = float(accrued_benefit_tokens(log, user).sum())
    parts = sum(float(accrued_benefit_tokens(part, user).sum()) for part in (first, second))
    assert parts == pytest.approx(whole, abs=1e-6)
    if user.origin == "arrival":
        assert whole == pytest.approx(float(benefit_tokens(log, user).sum()), abs=1e-6)


@pytest.mark.parametrize("level", ["tokens", "requests"])
@pytest.mark.parametrize("name", ["reasoning", "summary"])
def test_a_saved_run_is_scored_as_it_was(tmp_path, name, level):
    own = scenario(workload={"thinking": THINKING}, preset=name).with_overrides([f"run.trace_level={level}"])
    result = run(own)
    result.save(tmp_path / "saved")
    saved = load(tmp_path / "saved")
    assert saved.summary() == result.summary()
    other = UserModel(preset="voice")
    if level == "tokens":
        assert saved.summary(other) == run(replace_user(own, "voice")).summary() | {
            "options": saved.summary(other)["options"]
        }
    else:
        with pytest.raises(InputError, match=r"what says in \[user\] when tokens are due"):
            saved.summary(other)


def replace_user(own, name):
    return own.with_overrides([f"user.preset={name}"])


def test_by_first_token_the_clock_begins_with_what_is_read():
    result = run(scenario(workload={"thinking": [[1.0, 60.0]]}, origin="first_token", v_s_per_token=0.5))
    assert result.summary()["idle_latency"]["idle_latency_s"]["max"] == 0
    from_arrival = result.summary(UserModel(v_s_per_token=0.5))["idle_latency"]["idle_latency_s"]["max"]
    assert from_arrival > 0


def test_the_overview_is_drawn(tmp_path):
    result = run(scenario(workload={"thinking": THINKING}, preset="reasoning", reads="sentence"))
    overview(result, tmp_path / "overview.png")
    assert (tmp_path / "overview.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("user", "alike", "count"),
    [({}, True, 1), ({"reads": "answer"}, True, 0), ({"thinking_share": 0.5}, True, 0), ({}, False, 0)],
)
def test_a_plans_bounds_are_for_steady_readers(user, alike, count):
    of = Scenario(user=user)
    ones = np.ones(10)
    reader, classic = Goal("token_slo.attainment", True, 0.9), Goal("latency.ttft_s.p99", False, 1.0)
    arrays = (100 * ones, 50 * ones, 10.0, 0.02 * ones, 0.01 * ones)
    assert len(demands(reader, of, *arrays, alike)) == count
    assert len(demands(classic, of, *arrays, alike)) == 1


def test_the_picture_of_all_models_is_drawn(tmp_path):
    """Of 300 tokens the last comes at 40.35 s: an agent that plans with 10 s waits for the rest."""
    log = one_answer()
    assert idle_latency_s(log, MODELS["agent"]).tolist() == pytest.approx([1.5 + 297 * 0.05 + 24 - 10])
    picture(log, MODELS, tmp_path / "readers.png")
    assert (tmp_path / "readers.png").stat().st_size > 50_000
