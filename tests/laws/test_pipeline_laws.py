"""Laws of engines whose layers are spread over stages, on random scenarios, stages and stage times."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.scheduling.vllm_v1 import VllmV1
from simulator.replica.loop import StepLoop
from simulator.replica.pipeline_engine import PipelineEngine, StageTimes
from simulator.replica.rules import DEFAULT_RULES, EngineRules
from tests.engine_cases import CHOICES, RaggedCost, load, play, scenarios, serve
from tests.examples import examples
from tests.laws.test_cluster_laws import same
from tests.laws.test_laws import check

FITTING = [
    (name, options) for name, options in CHOICES if load("scheduling", name)(**options).fits_pipeline()
]


class Staged(RaggedCost):
    """The same price, divided among stages by weights."""

    decode_piece = None

    def __init__(self, weights):
        self.weights = weights

    def stage_s(self, shape):
        whole_s = super().step_s(shape)
        return [whole_s * weight for weight in self.weights]

    def step_s(self, shape):
        return sum(self.stage_s(shape))


@st.composite
def pipelines(draw):
    case = draw(scenarios(FITTING, rules=DEFAULT_RULES))
    weights = draw(st.lists(st.floats(0.05, 1), min_size=2, max_size=6))
    rules = EngineRules(stages=len(weights), null_blocks=draw(st.integers(0, 1)))
    return {**case, "cost": Staged(weights), "rules": rules}


def watched(policy, stages):
    """The policy, which looks at its engine before and after each plan: who is in which batch, and what is free."""

    class Watching(type(policy())):
        def plan(self, step):
            flying = step._in_flight
            assert len(step._batches) == len(step.unended) < stages
            assert all(job.group is None and job not in step.partial for job in flying)
            super().plan(step)
            decoding = [job for job in step.running if job.group is not None] if step.ticks else []
            assert flying.isdisjoint(decoding), "it is in two batches"
            assert flying.isdisjoint(step.chunks), "it is in two batches"
            if step.cache is None:
                held = sum(step.blocks_held(job) for job in step.running)
                assert held + step.kv.free_blocks == step.total_blocks - done_blocks(step)

    def done_blocks(step):
        return sum(job.blocks for job in step.waiting)

    fields = {name: getattr(policy(), name) for name in type(policy()).__dataclass_fields__}
    return lambda: Watching(**fields)


def test_there_are_policies_to_look_at():
    assert "vllm_v1" in dict(FITTING)


@settings(max_examples=examples(60), deadline=None)
@given(case=pipelines())
def test_every_law_of_one_stage_holds_with_several(case):
    check(case)


@settings(max_examples=examples(60), deadline=None)
@given(case=pipelines())
def test_no_request_is_in_two_batches_and_blocks_balance(case):
    play({**case, "policy": watched(case["policy"], case["rules"].stages)})


def planning_each(policy, plans):
    """The policy, which lets no step go without a plan, and notes each in ``plans``."""

    class PlanningEach(type(policy())):
        def fast_forward_spare_blocks(self):
            return None

        def plan(self, step):
            plans.append(step.step)
            super().plan(step)

    fields = {name: getattr(policy(), name) for name in type(policy()).__dataclass_fields__}
    return lambda: PlanningEach(**fields)


def test_steps_that_are_not_planned_are_as_if_they_were():
    """The same tables, to the last bit."""
    planned, steps = [], [0]

    @settings(max_examples=examples(25), deadline=None)
    @given(case=pipelines())
    def law(case):
        _, at_once = play(case)
        cluster, one_by_one = play({**case, "policy": planning_each(case["policy"], planned)})
        same(at_once.tables, one_by_one.tables)
        steps[0] += sum(server.engine.step for server in cluster.replicas)

    law()
    assert len(planned) >= steps[0] > 300


class Unpriced(Staged):
    """Nothing is known of steps to come, so that each is looked at when it ends."""

    def step_s(self, shape):
        return 0.0


@settings(max_examples=examples(15), deadline=None)
@given(case=pipelines(), think_s=st.sampled_from([0.0, 0.3]))
def test_clients_that_wait_for_answers_go_on_when_they_have_them(case, think_s):
    """A replica that is left alone until a job can be complete is looked at in time."""
    n = len(case["workload"].arrival_s)
    sessions = dataclasses.replace(
        case["workload"], session=np.arange(n) // 5, think_s=np.full(n, think_s), leave_s=None
    )
    case = {**case, "workload": sessions}
    left_alone, looked_at = (
        play({**case, "cost": cost})[1] for cost in (case["cost"], Unpriced(case["cost"].weights))
    )
    same(left_alone.tables, looked_at.tables)


def test_most_steps_are_not_planned():
    plans = []

    class Counting(VllmV1):
        def plan(self, step):
            plans.append(step.step)
            super().plan(step)

    outcome = serve(
        Counting,
        np.arange(40) / 4.0,
        [100] * 40,
        [60] * 40,
        cost=Staged([0.4, 0.6]),
        rules=EngineRules(stages=2),
    )
    assert len(plans) < 0.5 * len(outcome.tables.steps["end_s"])


@settings(max_examples=examples(80), deadline=None)
@given(
    batches=st.lists(
        st.tuples(st.floats(0, 1), st.lists(st.floats(0.01, 1), min_size=4, max_size=4)), max_size=20
    )
)
def test_a_stage_has_one_batch_at_a_time_and_keeps_their_order(batches):
    times, now_s, ended = StageTimes(4), 0.0, []
    for wait_s, stage_s in batches:
        now_s += wait_s
        begun_s, end_s = times.run(now_s, stage_s)
        assert end_s >= now_s + sum(stage_s) * (1 - 1e-12)
        assert begun_s + stage_s[-1] == end_s
        ended.append((begun_s, end_s))
    assert all(one[1] <= other[0] for one, other in pairwise(ended))


@settings(max_examples=examples(30), deadline=None)
@given(case=scenarios(FITTING, rules=DEFAULT_RULES))
def test_one_stage_is_as_ever(case):
    """With one stage nothing of the pipeline is used."""
    cluster, _ = play(case)
    assert not any(isinstance(server.engine, PipelineEngine) for server in cluster.replicas)
    assert all(isinstance(server, StepLoop) and server._stages is None for server in cluster.replicas)


def test_even_stages_decode_as_often_in_all_and_no_faster_alone():
    """Two stages of half the time: one request waits as long for a token, four batches give twice the tokens."""
    from simulator.replica.limits import Limits

    class Even:
        def __init__(self, stages):
            self.stages = stages

        def step_s(self, shape):
            return 1.0

        def stage_s(self, shape):
            return [1 / self.stages] * self.stages

    def last_s(stages, requests):
        outcome = serve(
            lambda: load("scheduling", "vllm_v1")(enable_prefix_caching=False),
            np.zeros(requests),
            [8] * requests,
            [20] * requests,
            limits=Limits(64, 8, 4096, 10_000, 16),
            cost=Even(stages),
            rules=EngineRules(stages=stages),
        )
        return outcome.tables.steps["end_s"][-1]

    assert last_s(2, 1) == last_s(4, 1) == 20
    assert last_s(4, 4) == pytest.approx(20.75)  # each in a batch of its own, a quarter of a step apart
