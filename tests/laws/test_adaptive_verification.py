"""Only drafts that pay are verified: the likeliest of all requests, and nothing else changes."""

import copy
import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.acceptance.rate import Rate
from policies.acceptance.recorded import Recorded
from policies.scheduling.vllm_v1 import VllmV1
from simulator.replica.adaptive_engine import CAPTURED, AdaptiveEngine, tried
from simulator.replica.speculation import Speculation
from simulator.results.recorded import draft_columns
from tests.cluster_cases import deployments, play
from tests.engine_cases import CHOICES, EvenCost, RaggedCost, serve
from tests.examples import examples
from tests.laws.test_cluster_laws import check, same
from tests.laws.test_speculation_laws import check_drafts, speculating, speculations


class CostlyDrafts(RaggedCost):
    """A draft takes as long as a hundred decodes do beside each other, or a share of that."""

    def __init__(self, draft_s):
        self.draft_s = draft_s

    def step_s(self, shape):
        return super().step_s(shape) + self.draft_s * shape.draft_tokens


def adaptive(deployment, speculation, draft_s=None):
    """A deployment that drafts and trims, at a price of drafts."""
    deployment = speculating(deployment, dataclasses.replace(speculation, adaptive=True))
    if draft_s is None:
        return deployment
    pools = [pool._replace(cost=CostlyDrafts(draft_s)) for pool in deployment.pools]
    return deployment._replace(pools=pools)


WITH_CHANCES = speculations().filter(lambda each: hasattr(each.acceptance, "chances"))


@pytest.mark.parametrize("mode", ["plain", "tight", "disaggregated"])
@settings(max_examples=examples(40), deadline=None)
@given(data=st.data(), draft_s=st.sampled_from([1e-5, 5e-4, 5e-3]))
def test_nothing_is_lost_and_what_is_verified_pays(mode, data, draft_s):
    traffic, deployment = data.draw(deployments(tuple(CHOICES), (mode,)))
    deployment = adaptive(deployment, data.draw(WITH_CHANCES), draft_s)
    with pytest.MonkeyPatch.context() as patch:
        looked_at = checking_each_step(patch)
        cluster, outcome = play(traffic, deployment)
    check(traffic, deployment, cluster, outcome)
    check_drafts(outcome, deployment)
    right = sum(int(draft_columns(life.records)[3].sum()) for life in outcome.tables.incarnations)
    assert sum(looked_at) >= right or any(plans_trees(deployment))


def plans_trees(deployment):
    """Of each pool, whether its policy chooses drafts itself."""
    return (type(pool.scheduler()).__name__ in ("Adaserve", "SlosServe") for pool in deployment.pools)


def checking_each_step(patch):
    """Have each trimmed step compared with all others that might have been; return what each verified."""
    looked_at, trim = [], AdaptiveEngine.trim_drafts

    def checked(engine):
        before, chosen, all_drafts = list(engine._decoding), engine._chosen, engine.shape.draft_tokens
        trim(engine)
        assert not engine._chosen  # a choice is of one step
        after, verified = engine._decoding, engine.shape.draft_tokens
        if chosen or not any(drafts for _, drafts, _ in before):
            assert (after, verified) == (before, all_drafts)
            return
        scheduled = sum(drafts for _, drafts, _ in before)
        verified -= all_drafts - scheduled
        assert 0 <= verified <= scheduled
        chains = [engine._chain(job, drafts)[0].unlikeness if drafts else () for job, drafts, _ in before]
        likely = sorted((-each for chain in chains for each in chain), reverse=True)
        sure = engine.shape.decode_seqs + sum(
            job.computed + chunk == job.prompt_tokens + job.generated for job, chunk in engine.chunks.items()
        )

        def rate(drafts):
            shape = copy.copy(engine.shape)
            shape.draft_tokens = all_drafts - scheduled + drafts
            return (sure + sum(likely[:drafts])) / engine.price(shape)

        others = engine.shape.decode_seqs + engine.shape.prefill_tokens + all_drafts - scheduled
        best = max(rate(drafts) for drafts in tried(others, len(likely)))
        assert rate(verified) == pytest.approx(best, rel=1e-9)
        assert len(after) == len(before)
        for (job, drafts, accepted), (same_job, made, right) in zip(after, before, strict=True):
            assert (job, drafts) == (same_job, made)
            assert accepted <= right or engine.speculation.acceptance.__class__ is Recorded
        looked_at.append(verified)

    patch.setattr(AdaptiveEngine, "trim_drafts", checked)
    return looked_at


@settings(max_examples=examples(60), deadline=None)
@given(data=st.data())
def test_where_drafts_cost_nothing_all_are_verified(data):
    """Those that cannot be right are not, which changes nothing either; recorded lengths are not replayed."""
    traffic, deployment = data.draw(deployments(tuple(CHOICES), ("plain", "tight", "disaggregated")))
    speculation = data.draw(WITH_CHANCES.filter(lambda each: not isinstance(each.acceptance, Recorded)))
    fixed = speculating(copy.deepcopy(deployment), dataclasses.replace(speculation, adaptive=False))
    plain, trimmed = (
        play(traffic, each)[1].tables for each in (fixed, adaptive(copy.deepcopy(deployment), speculation))
    )
    same(plain, trimmed)


def test_what_pays_does_not_depend_on_how_slow_all_steps_are():
    """A token takes minutes, and less with all drafts, which cost nothing."""

    def served(adaptive):
        speculation = Speculation(Rate(0.8), 3, adaptive=adaptive)
        slow = EvenCost(500.0)
        return serve(VllmV1, [0.0, 0.0], [20, 20], [40, 40], cost=slow, speculation=speculation).tables

    same(served(False), served(True))


@given(st.integers(1, 3000), st.integers(0, 3000))
def test_what_is_compared_are_the_sizes_to_which_steps_are_padded(others, most):
    found = tried(others, most)
    assert found[0] == 0
    assert found[-1] == most
    assert found == sorted(set(found))
    within = [others + drafts for drafts in found[1:-1]]
    assert all(size in CAPTURED if size <= CAPTURED[-1] else size % 64 == 0 for size in within)
    sizes = {*CAPTURED, *range(CAPTURED[-1], others + most, 64)}
    assert {size for size in sizes if others < size < others + most} <= {*within, others + most}
