"""Experts over GPUs: what is expected of picks, and that EPLB packs as well as can be asked of a greedy rule."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_profiles import load_gpu, load_model
from hardware_profiles.expert_load import ExpertSpread, chances_of, reached
from hardware_profiles.expert_parallel import RanksCost
from policies.expert_load.zipf import Zipf
from policies.expert_placement.eplb import Eplb, pack, replicate
from policies.expert_placement.linear import Linear
from policies.expert_placement.round_robin import ExpertsInTurn
from simulator.replica.cost import StepShape

QWEN = load_model("qwen3-30b-a3b")
COUNT, ACTIVE = 128, 8
LOADS = st.lists(st.floats(0, 100), min_size=4, max_size=8).filter(any).map(np.array)


def zipf(exponent, layers=4, seed=1):
    return Zipf(exponent).shares(layers, COUNT, np.random.default_rng(seed))


@given(LOADS, st.integers(1, 4))
@settings(max_examples=50)
def test_chances_keep_the_order_of_shares_and_sum_to_the_picks(shares, active):
    shares = shares + 1e-3
    (row,) = np.array(chances_of(shares[None], active))
    assert row.sum() == pytest.approx(active)
    assert row.max() <= 1 + 1e-12
    assert (np.diff(row[np.argsort(shares)]) >= -1e-12).all()


@given(st.floats(1e-6, 2), st.integers(1, 3000))
@settings(max_examples=30)
def test_uneven_picks_reach_fewer_experts_than_even_ones(exponent, tokens):
    even = COUNT * (1 - (1 - ACTIVE / COUNT) ** tokens)
    found = reached(chances_of(zipf(exponent), ACTIVE), tokens)
    assert min(tokens * ACTIVE, ACTIVE) - 1e-9 <= found <= even + 1e-9
    assert exponent > 1e-5 or found == pytest.approx(even, rel=1e-3)


@pytest.mark.parametrize("place", [Linear().place, ExpertsInTurn().place, Eplb(16).place])
def test_what_gpus_get_sums_to_what_there_is(place):
    spread = ExpertSpread(chances_of(zipf(0.8), ACTIVE), 4, place)
    each, read = spread.at(96)
    assert each.sum(axis=1) == pytest.approx(np.full(4, 96.0))
    assert (read.sum(axis=1) <= COUNT + 16).all()
    assert spread.imbalance >= 1


@pytest.mark.parametrize("kind", ["analytic", "auto"])
def test_even_shares_cost_what_experts_cost_without_a_policy(kind):
    chances = chances_of(np.ones((1, COUNT)), ACTIVE)
    gpu = load_gpu("h100-80gb-sxm")
    plain = RanksCost(gpu, QWEN, 4, kind)
    same = RanksCost(gpu, QWEN, 4, kind, spread=ExpertSpread(chances, 4, Linear().place))
    skewed = RanksCost(
        gpu, QWEN, 4, kind, spread=ExpertSpread(chances_of(zipf(1.0), ACTIVE), 4, Linear().place)
    )
    for tokens in (1, 7, 64, 900, 8000):
        assert same.experts_s(tokens, tokens) == pytest.approx(plain.experts_s(tokens, tokens), rel=1e-9)
    assert skewed.experts_s(8000, 8000) > plain.experts_s(8000, 8000)
    shape = StepShape(decode_seqs=40, decode_context_tokens=40_000)
    assert same.pass_s((shape, shape)) == pytest.approx(plain.pass_s((shape, shape)))


@given(LOADS, st.integers(0, 4))
@settings(max_examples=60)
def test_copies_go_where_they_lower_the_most_loaded_place_most(load, redundant):
    copies = replicate(load, len(load) + redundant)
    assert copies.sum() == len(load) + redundant
    best = min((load / each).max() for each in copies_of(len(load), redundant))
    assert (load / copies).max() == pytest.approx(best)


def copies_of(count, redundant):
    """Every way to give so many copies away."""
    if count == 1:
        yield np.array([1 + redundant])
        return
    for first in range(redundant + 1):
        for rest in copies_of(count - 1, redundant - first):
            yield np.array([1 + first, *rest])


@given(LOADS, st.integers(2, 4))
@settings(max_examples=60, deadline=None)
def test_greedy_packing_is_within_a_third_of_the_best(load, gpus):
    load = load[: len(load) // gpus * gpus]
    if len(load) < gpus or len(load) > 6:
        return
    packed = pack(load, gpus)
    assert sorted(packed.ravel()) == list(range(len(load)))
    best = min(
        load[list(order)].reshape(gpus, -1).sum(axis=1).max() for order in permutations(range(len(load)))
    )
    assert load[packed].sum(axis=1).max() <= 4 / 3 * best + 1e-9


@pytest.mark.parametrize("exponent", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("gpus", [2, 8])
def test_balanced_experts_load_gpus_more_evenly_and_copies_more_so(exponent, gpus):
    chances = chances_of(zipf(exponent), ACTIVE)
    without, packed, copied = (
        ExpertSpread(chances, gpus, place).imbalance
        for place in (Linear().place, Eplb(0).place, Eplb(32).place)
    )
    assert copied < packed + 1e-3 < without  # those of 2 GPUs are even but for rounding
    assert copied < 1.05
