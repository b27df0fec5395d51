"""What a run keeps is refused by no bound of a plan: each number of a run, as a target, stays possible."""

import numpy as np
import pytest

from simulator import Scenario, run
from simulator.studies.plan.bounds import MixJudge, judge
from simulator.studies.plan.demands import demands
from simulator.studies.plan.goals import PER_REQUESTED, PER_SECOND, Goal, Whole, hopeless
from simulator.studies.plan.traffic import Requests
from simulator.studies.points import numbers_of
from simulator.workload import build

BASE = {
    "hardware": {"gpu": "l40s"},
    "cluster": {"replicas": 2},
    "workload": {"arrivals": "poisson", "rate_rps": 12.0, "requests": 90, "prompt_tokens": 1500, "output_tokens": 40},
    "user": {"first_token_allowance_s": 1.0},
    "slo": {"ttft_s": 1.0, "tpot_s": 0.05, "tail_tbt_s": 0.2, "e2e_s": 3.0},
    "metrics": {"window": "whole"},
}  # fmt: skip
KINDS = {
    "as it is": {},
    "overloaded": {"workload.rate_rps": 60.0},
    "without bounds on time": {"slo": {"ttft_s": 2.0}},
    "over arrivals": {"metrics.window": "arrivals"},
    "over some seconds": {"metrics.window": 5.0},
    "trimmed": {"metrics": {}, "run.trim_warmup": 0.2},
    "cut off": {"run.horizon_s": 4.0},
    "dropping": {"policy.admission": "queue_cap", "workload.rate_rps": 40.0},
    "from the first token": {"user.first_token_allowance_s": "none", "user.origin": "first_token"},
    "stages": {"engine.pipeline_parallel_size": 2, "cluster.replicas": 1},
    "drafts": {"speculation": {"method": "eagle3", "num_speculative_tokens": 2}},
    "drafts of few": {
        "speculation": {
            "method": "ngram",
            "num_speculative_tokens_per_batch_size": [[4, 3], [64, 1]],
        }
    },
    "no tail": {"slo": {"e2e_s": 9.0, "tail_tbt_s": 0.5, "tail_tbt": "p99"}},
}
AT_LEAST = (
    *("token_slo.attainment", "slo.attainment_all", "slo.attainment.ttft_s", "slo.attainment.tpot_s"),
    *("slo.attainment.e2e_s", "slo.attainment.tail_tbt_s", PER_REQUESTED, PER_SECOND),
)
AT_MOST = (
    *(
        f"latency.{name}_s.{what}"
        for name in ("ttft", "tbt", "tpot", "e2e")
        for what in ("p50", "p99", "max")
    ),
    *("latency.ttft_s.mean", "idle_latency.idle_latency_s.p95", "latency.tbt_p99_per_request_s.p90"),
)


def scenario(more):
    """Return the scenario of a kind: tables replace those of the base, keys with a dot are set."""
    tables = BASE | {key: value for key, value in more.items() if isinstance(value, dict)}
    return Scenario(**tables).with_overrides(
        [f"{key}={value}" for key, value in more.items() if not isinstance(value, dict)]
    )


@pytest.fixture(params=KINDS, scope="module")
def kept(request):
    """A scenario, and as goals the numbers of its run."""
    chosen = scenario(KINDS[request.param])
    numbers = numbers_of(run(chosen))
    goals = [Goal(name, name in AT_LEAST, numbers[name]) for name in AT_LEAST + AT_MOST if name in numbers]
    return chosen, [goal for goal in goals if goal.bound is not None]


def test_no_bound_refuses_what_a_run_keeps(kept):
    chosen, goals = kept
    traffic = Requests(build(chosen.workload, 0), cached=False)
    judged = judge(chosen.with_overrides(["cluster.replicas=1"]), None, goals, traffic, range(1, 40), 1)
    assert judged.refused is None
    assert judged.least <= chosen.cluster.replicas


def test_no_part_of_a_run_refuses_what_all_of_it_keeps(kept):
    chosen, goals = kept
    if chosen.run.trim_warmup or chosen.run.horizon_s or chosen.metrics.window == 5.0:
        pytest.skip("a plan simulates these whole")
    part = run(chosen.with_overrides(["run.horizon_s=1.0"])).log
    whole = Whole.of(build(chosen.workload, 0))
    assert 0 < part.n < whole.n
    for goal in goals:
        assert not hopeless(goal, part, whole, chosen.user, chosen.slo), goal


def requests(chosen, **more):
    return Requests(build(chosen.workload, 0), cached=False, **more)


def test_more_smooth_goodput_takes_more_replicas():
    chosen = scenario({"workload.rate_rps": 60.0, "workload.requests": 600, "cluster.replicas": 1})

    def least(metric, bound):
        return judge(chosen, None, [Goal(metric, True, bound)], requests(chosen), range(1, 40), 1).least

    some, nearly_all = least(PER_REQUESTED, 0.5), least(PER_REQUESTED, 0.99)
    assert 1 < some < nearly_all
    fewer = run(chosen.with_overrides([f"cluster.replicas={nearly_all - 1}"]))
    assert numbers_of(fewer)[PER_REQUESTED] < 0.99
    assert 1 < least(PER_SECOND, 1000.0) <= least(PER_SECOND, 2000.0)


def test_a_loss_that_is_allowed_demands_nothing():
    """The longer a run lasts, the more may be lost in all at so many tokens a second."""
    chosen = scenario({"workload.rate_rps": 200.0, "cluster.replicas": 1})
    traffic = requests(chosen)
    slow = np.full(len(traffic.output), 1.0)
    arrays = traffic.prompt, traffic.output, traffic.span_s, slow, slow
    goal = Goal(PER_SECOND, True, numbers_of(run(chosen))[PER_SECOND])
    assert goal.bound < 0
    assert demands(goal, chosen, *arrays, alike=True) == []


def test_what_is_far_off_is_refused_on_a_part():
    chosen = scenario({"workload.rate_rps": 60.0, "cluster.replicas": 1})
    part = run(chosen.with_overrides(["run.horizon_s=1.4"])).log
    whole = Whole.of(build(chosen.workload, 0))
    for metric, bound in ((PER_SECOND, 3000.0), ("slo.attainment.ttft_s", 0.99), ("latency.ttft_s.max", 0.1)):
        goal = Goal(metric, metric in AT_LEAST, bound)
        assert hopeless(goal, part, whole, chosen.user, chosen.slo), goal
    assert not hopeless(Goal("smooth_goodput.completed", True, 1e9), part, whole, chosen.user, chosen.slo)


def test_prompts_that_are_cached_are_no_work():
    chosen = scenario({"workload.rate_rps": 60.0, "cluster.replicas": 1})
    goals = [Goal("latency.ttft_s.p50", False, 0.05)]
    cached = Requests(build(chosen.workload, 0), cached=True)
    assert judge(chosen, None, goals, requests(chosen), range(1, 40), 1).kind == "bound"
    assert judge(chosen, None, goals, cached, range(1, 40), 1).refused is None


def test_answers_that_the_model_cuts_short_are_bound_by_nothing():
    chosen = scenario(
        {
            "hardware.model": "llama-2-7b",
            "workload.prompt_tokens": 4000,
            "workload.output_tokens": 900,
            "cluster.replicas": 1,
        }
    )
    goals = [Goal("latency.e2e_s.p50", False, 1e-6)]
    assert judge(chosen, None, goals, requests(chosen), range(1, 40), 1).refused is None


def test_of_a_mix_one_kind_may_be_too_small_and_not_both():
    goals = [Goal("latency.ttft_s.p50", False, 100.0)]

    def judged(*blocks):
        pools = {
            f"kind{i}": {"gpu": "l40s", "replicas": 1, "num_gpu_blocks": each}
            for i, each in enumerate(blocks)
        }
        mixed = Scenario(**BASE | {"cluster": {"pools": pools}})
        return MixJudge(mixed, None, goals, requests(mixed)).judge((1, 1), range(2, 40, 2))

    assert judged(60, 9000).refused is None
    assert "the KV cache holds 944 tokens, the longest request needs 1,540" in judged(60, 60).refused
