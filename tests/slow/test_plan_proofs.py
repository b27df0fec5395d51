"""What a plan's search takes as proved holds: parts of a run, bounds without simulation, changes to a plan."""

import math

import numpy as np
import pytest

from simulator import Scenario, run
from simulator.errors import InputError
from simulator.studies.band import slowed, step_error
from simulator.studies.plan.bounds import judge
from simulator.studies.plan.goals import (
    PER_REQUESTED,
    PER_SECOND,
    Goal,
    Whole,
    hopeless,
    parse_goals,
)
from simulator.studies.plan.launch import launch_lines
from simulator.studies.plan.robust import _faster, _filed, closer, longer
from simulator.studies.plan.traffic import Requests
from simulator.studies.points import numbers_of
from simulator.workload import build

KINDS = {
    "overloaded": {"policy.scheduling": "vllm_v1"},
    "smooth": {"policy.scheduling": "smooth", "workload.predictor": "perfect"},
    "dropping": {
        "policy.abandonment.name": "missed_slo",
        "policy.abandonment.ttft_s": 2.0,
        "policy.admission": "queue_cap",
    },
    "reading from the first token": {"user.origin": "first_token"},
    "disaggregated": {"cluster.prefill.replicas": 1, "cluster.decode.replicas": 1},
    "two replicas": {"cluster.replicas": 2, "policy.routing": "random"},
}
LATENCIES = [f"latency.{name}_s" for name in ("ttft", "tbt", "tpot", "e2e")]
METRICS = (
    *("token_slo.attainment", "slo.attainment_all", "slo.attainment.ttft_s", "slo.attainment.e2e_s"),
    *(PER_REQUESTED, PER_SECOND),
    *(f"{name}.{what}" for name in LATENCIES for what in ("mean", "p50", "p99", "max")),
    *("latency.tbt_max_per_request_s.p90", "idle_latency.idle_latency_s.mean", "idle_latency.idle_latency_s.p95"),
)  # fmt: skip


def overloaded(more):
    base = Scenario(
        hardware={"gpu": "l40s"},
        workload={"trace": "azure2023_conv", "start_s": 1200.0, "limit": 160, "rate_scale": 3.0},
        user={"first_token_allowance_s": 1.0},
        slo={"ttft_s": 1.0, "tpot_s": 0.05, "tail_tbt_s": 0.2, "e2e_s": 20.0},
    )
    settings = [f"{key}={value}" for key, value in more.items()]
    if "user.origin" in more:
        settings.insert(0, "user.first_token_allowance_s=none")
    return base.with_overrides(settings)


@pytest.fixture(params=KINDS.values(), ids=KINDS, scope="module")
def whole_and_parts(request):
    scenario = overloaded(request.param)
    result = run(scenario)
    arrival_s = result.log.arrival_s
    parts = [
        run(scenario.with_overrides([f"run.horizon_s={float(arrival_s[len(arrival_s) * i // 8 - 1])!r}"]))
        for i in (1, 4, 7)
    ]
    return scenario, result, parts


def test_a_part_is_the_beginning_of_the_whole_run_to_the_bit(whole_and_parts):
    _, result, parts = whole_and_parts
    log = result.log
    for each in parts:
        part, horizon_s = each.log, each.manifest["end_of_run_s"]
        for i in range(part.n):
            early = part.delivered_s[part.token_offsets[i] : part.token_offsets[i + 1]]
            all_ = log.delivered_s[log.token_offsets[i] : log.token_offsets[i + 1]]
            assert np.array_equal(early, all_[: len(early)])
            assert len(early) == len(all_) or all_[len(early)] > horizon_s


def test_nothing_that_the_whole_run_keeps_is_refused_on_a_part(whole_and_parts):
    """The tightest bound that a run keeps is its own value; refused on no part."""
    scenario, result, parts = whole_and_parts
    numbers = numbers_of(result)
    assert PER_REQUESTED in numbers
    whole = Whole.of(build(scenario.workload, scenario.seed))
    tried = 0
    for metric in METRICS:
        value = numbers.get(metric)
        if value is None:
            continue
        at_least = metric.startswith(("token_slo", "slo", "smooth"))
        goal = Goal(metric, at_least, value)
        for part in parts:
            tried += 1
            assert not hopeless(goal, part.log, whole, scenario.user, scenario.slo), (metric, value)
    assert tried > 40


@pytest.mark.parametrize(
    ("metric", "at_least", "bound"),
    [
        ("token_slo.attainment", True, 0.9),
        ("slo.attainment_all", True, 0.95),
        ("latency.ttft_s.p99", False, 1.0),
        ("latency.ttft_s.mean", False, 0.1),
        ("idle_latency.idle_latency_s.p95", False, 1.0),
        (PER_REQUESTED, True, 0.99),
    ],
)
def test_what_is_far_off_is_refused_half_way(metric, at_least, bound):
    scenario = overloaded({"workload.rate_scale": 6.0})
    workload = build(scenario.workload, 0)
    horizon_s = float(workload.arrival_s[len(workload) * 7 // 8])
    part = run(scenario.with_overrides([f"run.horizon_s={horizon_s!r}"]))
    goal = Goal(metric, at_least, bound)
    assert hopeless(goal, part.log, Whole.of(workload), scenario.user, scenario.slo)
    easy = Goal(metric, at_least, -1e9 if at_least else 1e9)
    assert not hopeless(easy, part.log, Whole.of(workload), scenario.user, scenario.slo)


def test_margins_and_goals_as_text():
    known = ["a.b", "c"]
    more, less = parse_goals(["a.b >= 0.9", " c<=2e-1 "], "plan.toml", known)
    assert (more.metric, more.at_least, more.bound) == ("a.b", True, 0.9)
    assert more.margin(0.99) == pytest.approx(0.1)
    assert less.margin(0.3) == pytest.approx(-0.5)
    assert less.margin(None) == -math.inf
    assert str(less) == "c <= 0.2"
    with pytest.raises(InputError, match=r"plan\.toml: target d <= 1: no number 'd'"):
        parse_goals(["d <= 1"], "plan.toml", known)


def steady(rate, gpu="l40s", replicas=1):
    return Scenario(
        hardware={"gpu": gpu},
        cluster={"replicas": replicas},
        workload={
            "arrivals": "poisson",
            "rate_rps": rate,
            "requests": 600,
            "prompt_tokens": 1500,
            "output_tokens": 40,
        },
        user={"first_token_allowance_s": 1.0},
        slo={"ttft_s": 1.0, "tpot_s": 0.05},
    )


def least(scenario, goal):
    traffic = Requests(build(scenario.workload, 0), cached=False)
    return judge(scenario, None, [goal], traffic, range(1, 100), 1)


ATTAINMENT = Goal("token_slo.attainment", True, 0.9)


def test_the_work_bound_grows_with_the_traffic_and_shrinks_with_the_gpu():
    slow, fast = least(steady(5.0), ATTAINMENT), least(steady(40.0), ATTAINMENT)
    assert 1 <= slow.least < fast.least
    assert least(steady(40.0, "h100-80gb-sxm"), ATTAINMENT).least < fast.least


@pytest.mark.parametrize(
    "goal",
    [ATTAINMENT, Goal("latency.ttft_s.p99", False, 1.0), Goal("slo.attainment_all", True, 0.8)],
    ids=str,
)
def test_one_replica_fewer_than_the_bound_misses(goal):
    judged = least(steady(30.0), goal)
    assert 2 <= judged.least <= judged.estimate
    numbers = numbers_of(run(steady(30.0, replicas=judged.least - 1)))
    assert goal.margin(numbers[goal.metric]) < 0


def test_no_number_of_replicas_helps_who_is_too_slow_alone():
    judged = least(steady(0.1), Goal("latency.ttft_s.p50", False, 0.01))
    assert judged.kind == "bound"
    assert "even on an idle replica" in judged.refused
    assert run(steady(0.1, replicas=9)).summary()["latency"]["ttft_s"]["p50"] > 0.01


def test_a_cache_that_is_too_small_for_a_request_is_refused():
    judged = least(steady(1.0).with_overrides(["engine.num_gpu_blocks=60"]), ATTAINMENT)
    assert judged.kind == "fit"
    assert "the longest request needs" in judged.refused


def one_request(**more):
    return Scenario(
        workload={"arrivals": "burst", "requests": 1, "prompt_tokens": 500, "output_tokens": 50}, **more
    )


def test_steps_are_slower_by_the_factor():
    scenario = one_request()
    lasted_s = []
    for each in (scenario, slowed(scenario, 1.25)):
        steps = run(each).steps()
        lasted_s.append(np.subtract(steps["end_s"], steps["start_s"]))
    assert lasted_s[1] / lasted_s[0] == pytest.approx(1.25)


def test_the_error_of_steps_is_that_of_servers_or_where_none_was_measured_that_of_kernels():
    h100 = step_error(one_request(hardware={"gpu": "h100-80gb-sxm"}), None)
    assert h100.validated
    assert "measured TPOTs" in h100.said
    l40s = step_error(one_request(hardware={"gpu": "l40s"}), None)
    assert not l40s.validated
    assert l40s.pct >= 5.0
    l4 = step_error(one_request(hardware={"gpu": "l4"}), None)
    assert l4.pct == 10.0
    assert "not validated" in l4.said


class OneSeed:
    """Of ``Runs``, what changes to a scenario use."""

    seeds = (7,)

    @staticmethod
    def workload(scenario):
        return build(scenario.workload, scenario.seed)


def test_more_traffic_of_every_kind(tmp_path):
    def faster(workload, factor):
        (scenario,) = _faster(Scenario(workload=workload), factor, OneSeed, tmp_path)
        return scenario.workload

    fixed = {"prompt_tokens": 1, "output_tokens": 1}
    assert faster({}, 1.2).rate_scale == 1.2
    assert faster({"arrivals": "burst", "requests": 1, **fixed}, 3.0).requests == 3
    assert faster({"arrivals": "poisson", "rate_rps": 2.0, "requests": 4, **fixed}, 0.5).rate_rps == 1.0
    assert faster({"concurrency": 10}, 1.2).concurrency == 12
    load = {"arrivals": "poisson", "load_points": [[0.0, 2.0], [5.0, 9.0]], "duration_s": 9.0, **fixed}
    before, after = (
        build(Scenario(workload=spec).workload, 7) for spec in (load, faster(load, 1.25).model_dump())
    )
    assert np.allclose(after.arrival_s, before.arrival_s / 1.25)


def test_patience_is_kept_when_requests_come_closer():
    before = build(Scenario(workload={"limit": 30, "patience_s": 4.0}).workload, 7)
    after = closer(before, 2.0)
    assert np.allclose(after.leave_s - after.arrival_s, before.leave_s - before.arrival_s)
    assert np.allclose(after.arrival_s, before.arrival_s / 2)


def test_longer_answers_are_the_same_requests_otherwise(tmp_path):
    spec = {
        "trace": "azure2023_conv",
        "limit": 50,
        "rate_scale": 2.0,
        "predictor": "perfect",
        "priorities": [0.5, 0.5],
        "tenants": [0.3, 0.7],
        "patience_s": 9.0,
    }
    before = build(Scenario(workload=spec).workload, 7)
    (scenario,) = _filed(Scenario(workload=spec), OneSeed, tmp_path / "longer", longer)
    after = build(scenario.workload, scenario.seed)
    for name in ("arrival_s", "prompt_tokens", "priority", "tenant"):
        assert np.array_equal(getattr(after, name), getattr(before, name))
    assert np.allclose(after.leave_s, before.leave_s)
    assert np.array_equal(after.output_tokens, np.ceil(before.output_tokens * 1.25))
    assert np.array_equal(after.predicted_tokens, after.output_tokens)


def test_launch_lines():
    (head, line) = launch_lines(Scenario(engine={"tensor_parallel_size": 2, "max_num_seqs": 64}), None)
    assert head == "# 1 x, on 2 h100-80gb-sxm each"
    assert line.startswith(
        "vllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size 2 --max-num-seqs 64 "
    )
    assert "--max-num-batched-tokens 8192 --gpu-memory-utilization 0.9" in line
    apart = launch_lines(Scenario(cluster={"prefill": {"replicas": 2}, "decode": {"max_num_seqs": 99}}), None)
    assert '"kv_role":"kv_producer"' in apart[1]
    assert '"kv_role":"kv_consumer"' in apart[3]
    assert "--max-num-seqs 99" in apart[3]
    (other,) = launch_lines(Scenario(policy={"scheduling": "sarathi"}), None)
    assert "vLLM does not have the policy 'sarathi'" in other
