"""Steps with drafts that are run without a plan of each are those that the policy would plan, to the last bit."""

import copy
import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.routing.round_robin import RoundRobin
from simulator.cluster.deployment import colocated
from simulator.replica.draft_runs import DraftRunEngine
from simulator.replica.engine import Engine
from simulator.replica.limits import Limits
from simulator.scenario.discover import load
from tests.cluster_cases import play
from tests.engine_cases import CHOICES, EvenCost, RaggedCost, native, workload
from tests.examples import examples
from tests.laws.test_cluster_laws import event_by_event, same
from tests.laws.test_speculation_laws import check_no_drafts_change_nothing, speculating, speculations


@st.composite
def one_pool(draw):
    """Answers long enough for runs, seats and blocks for few, on an engine that drafts; no client leaves."""
    name, options = draw(st.sampled_from(CHOICES))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32)))
    ties, n = draw(st.booleans()), numbers.integers(2, 14)
    gaps = numbers.choice([0.0, 0.25, 0.5, 3.0], n) if ties else numbers.exponential(0.1, n)
    traffic = workload(np.cumsum(gaps), numbers.integers(1, 41, n), numbers.integers(1, 61, n), 60)
    block_size = int(numbers.choice([1, 2, 4, 16]))
    least = -(-100 // block_size) + 3
    limits = Limits(
        int(numbers.integers(1, 7)),
        int(numbers.choice([120, 120, 400])),
        int(numbers.choice([101, 120])),
        int(least * numbers.choice([1, 1.5, 9])),
        block_size,
        num_cpu_blocks=int(numbers.choice([0, least])),
        stop_tokens=bool(numbers.integers(2)),
    )
    deployment = deployed(name, options, limits, EvenCost() if ties else RaggedCost())
    horizon_s = draw(st.sampled_from([None, None, 2.1]))
    deployment = deployment._replace(horizon_s=horizon_s)
    return traffic, speculating(deployment, draw(speculations()))


def deployed(name, options, limits, cost):
    def scheduler():
        return load("scheduling", name)(**options)

    return colocated(scheduler, cost, limits, RoundRobin(), rules=native(scheduler))


def staying(traffic):
    """The same traffic, but no client leaves: watching for them cuts runs short."""
    optional = {name: column for name, column in traffic.optional.items() if name != "leave_s"}
    return dataclasses.replace(traffic, optional=optional)


def check_draft_runs(traffic, deployment):
    """Raise AssertionError unless a plan of each step, or an event at each end of one, gives the same bits."""
    one = play(traffic, copy.deepcopy(deployment))[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "only_decodes", lambda self, completing: False)
        planned = play(traffic, copy.deepcopy(deployment))[1]
    with pytest.MonkeyPatch.context() as patch:
        event_by_event(patch)
        looked_at = play(traffic, copy.deepcopy(deployment))[1]
    for other in (planned, looked_at):
        same(one.tables, other.tables)
        assert one.prefix_hits == other.prefix_hits
        assert lives_of(one) == lives_of(other)


def lives_of(outcome):
    """The drafts of each life of each replica; one that begins when all has ended has none, and may not begin."""
    lives = [life.records.rows("drafts").T.tolist() for life in outcome.tables.incarnations]
    return [drafts for drafts in lives if drafts]


def test_runs_with_drafts_change_nothing():
    """And runs of several steps are among what is tried."""
    long_runs, run_drafts = [], DraftRunEngine.run_drafts

    def counted(engine, *asked):
        first_step = engine.step
        found = run_drafts(engine, *asked)
        if engine.step > first_step + 2:
            long_runs.append(engine.step - first_step)
        return found

    @settings(max_examples=examples(30), deadline=None)
    @given(one_pool())
    def law(case):
        check_draft_runs(*case)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DraftRunEngine, "run_drafts", counted)
        law()
    assert len(long_runs) > examples(30)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_no_policy_does_anything_else_where_there_are_no_drafts(choice):
    """Steps are planned while the last token of others is in flight."""
    draw = np.random.default_rng(1)
    prompts, outputs = draw.integers(1, 20, 12), draw.integers(1, 9, 12)
    traffic = workload(np.cumsum(draw.exponential(0.02, 12)), prompts, outputs)
    limits = Limits(4, 100, 120, 1000, 4)
    check_no_drafts_change_nothing(traffic, deployed(*choice, limits, RaggedCost()))
