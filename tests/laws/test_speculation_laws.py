"""Laws of speculative decoding: nothing is lost, every block comes back, and without drafts nothing changes."""

import copy
import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.acceptance.by_position import ByPosition
from policies.acceptance.match import Match
from policies.acceptance.none import NoneRight
from policies.acceptance.rate import Rate
from policies.acceptance.recorded import Recorded
from simulator.replica.speculation import Speculation
from simulator.results.recorded import draft_columns, steps_ended
from tests.cluster_cases import deployments, play
from tests.engine_cases import CHOICES
from tests.examples import examples
from tests.laws.test_cluster_laws import check
from tests.laws.test_fixed_kv import KINDS

ACCEPTANCE = st.one_of(
    st.builds(Rate, st.sampled_from([0.3, 0.8, 1.0])),
    st.just(Rate(0.7, 0.2)),
    st.just(ByPosition([0.9, 0.3])),
    st.builds(Match, st.sampled_from([0.2, 1.0])),
    st.just(NoneRight()),
    st.builds(Recorded, st.lists(st.integers(0, 9), min_size=1, max_size=5)),
)


def speculations(least=1):
    return st.builds(
        Speculation,
        ACCEPTANCE,
        st.integers(least, 6),
        st.sampled_from([(), (), ((1, 4), (3, 2)), ((2, 0), (8, 5))]) if least else st.just(()),
        lookahead=st.booleans(),
        adaptive=st.booleans(),
        seed=st.integers(0, 2**40),
    ).map(adapts_where_it_can)


def adapts_where_it_can(speculation):
    return dataclasses.replace(
        speculation, adaptive=speculation.adaptive and hasattr(speculation.acceptance, "chances")
    )


def speculating(deployment, speculation):
    pools = [pool._replace(speculation=speculation) for pool in deployment.pools]
    return deployment._replace(pools=pools)


@pytest.mark.parametrize("mode", ["plain", "tight", "disaggregated", "mixed"])
@settings(max_examples=examples(60), deadline=None)
@given(data=st.data())
def test_nothing_is_lost(mode, data):
    traffic, deployment = data.draw(deployments(tuple(CHOICES), (mode,)))
    deployment = speculating(deployment, data.draw(speculations()))
    cluster, outcome = play(traffic, deployment)
    check(traffic, deployment, cluster, outcome)
    check_drafts(outcome, deployment)


@settings(max_examples=examples(60), deadline=None)
@given(data=st.data(), fixed=KINDS)
def test_nothing_is_lost_with_windows_and_states(data, fixed):
    traffic, deployment = data.draw(deployments(tuple(CHOICES), ("plain", "tight")))
    pools = []
    for pool in deployment.pools:
        room = fixed.blocks(pool.limits.max_model_len, pool.limits.block_size)
        limits = pool.limits._replace(fixed_kv=fixed, num_gpu_blocks=pool.limits.num_gpu_blocks + room)
        pools.append(pool._replace(limits=limits))
    deployment = speculating(deployment._replace(pools=pools), data.draw(speculations()))
    cluster, outcome = play(traffic, deployment)
    check(traffic, deployment, cluster, outcome)


def check_with_drafts(traffic, deployment, speculation):
    """Raise AssertionError unless all laws hold with drafts, and without any nothing changes."""
    plain, drafting = copy.deepcopy(deployment), speculating(copy.deepcopy(deployment), speculation)
    cluster, outcome = play(traffic, drafting)
    check(traffic, drafting, cluster, outcome)
    check_drafts(outcome, drafting)
    check_no_drafts_change_nothing(traffic, plain)


def check_no_drafts_change_nothing(traffic, deployment):
    """Raise AssertionError unless an engine that gets no drafts does to the bit what one does that may not have any."""
    never = Speculation(NoneRight(), 0, lookahead=False)
    both = copy.deepcopy(deployment), speculating(copy.deepcopy(deployment), never)  # routers remember
    plain, mine = (play(traffic, each)[1].tables for each in both)
    for table in ("steps", "requests", "tokens", "transfers"):
        for name, column in getattr(plain, table).items():
            other = getattr(mine, table)[name]
            assert name == "ticks" or column.tobytes() == other.tobytes(), (table, name)


def check_drafts(outcome, deployment):
    """Raise AssertionError unless each step gives what its drafts say, within its budget."""
    tokens = outcome.tables.tokens
    assert "draft" in tokens
    budget = min(pool.limits.max_num_batched_tokens for pool in deployment.pools)
    for life in outcome.tables.incarnations:
        request, step, drafts, accepted, got = draft_columns(life.records)
        assert (got >= 1).all()
        assert ((accepted >= 0) & (accepted <= drafts)).all()
        assert (got <= 1 + accepted).all()
        if deployment.pools[0].limits == deployment.pools[-1].limits and len(step):
            computed = np.bincount(step, 1 + drafts)
            assert (computed <= budget).all()
        here = step < steps_ended(life.records)
        pairs = np.stack([request[here], step[here]])
        assert np.unique(pairs, axis=1).shape == pairs.shape  # a request is once in a step
    if deployment.horizon_s is None and len(tokens["draft"]):
        assert tokens["draft"].sum() <= sum(
            accepted.sum()
            for life in outcome.tables.incarnations
            for *_, accepted, _ in [draft_columns(life.records)]
        )


@settings(max_examples=examples(80), deadline=None)
@given(data=st.data())
def test_without_drafts_nothing_changes(data):
    """An engine that may speculate and gets no drafts does to the bit what one does that may not."""
    traffic, deployment = data.draw(deployments(tuple(CHOICES)))
    check_no_drafts_change_nothing(traffic, deployment)


@settings(max_examples=examples(40), deadline=None)
@given(data=st.data())
def test_equal_inputs_give_equal_bytes(data):
    traffic, deployment = data.draw(deployments(tuple(CHOICES), ("plain", "tight")))
    deployment = speculating(deployment, data.draw(speculations()))
    one, two = (play(traffic, copy.deepcopy(deployment))[1].tables for _ in range(2))
    for table in ("steps", "tokens", "requests"):
        for name, column in getattr(one, table).items():
            assert column.tobytes() == getattr(two, table)[name].tobytes(), (table, name)
