"""Collectives: what is measured is reproduced, published times are met, and more never takes less time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_profiles import load_gpu
from hardware_profiles.collectives import Group, group_of
from hardware_profiles.link import load_link
from simulator.errors import InputError

H100 = load_gpu("h100-80gb-sxm")
# DeepEP, docs/legacy.md: low-latency kernels on H800 with a 400 Gbit/s card each; ranks, dispatch us, combine us.
# 128 tokens to 8 experts each, 7168 values, one byte and a scale of 4 bytes per 128 values out, two bytes back.
DEEPEP = ((16, 118, 195), (32, 155, 273), (64, 173, 314), (128, 192, 369), (256, 194, 360))


def over(ranks: int, per_node: int = 8) -> Group:
    return group_of(H100, ranks, per_node, load_link("infiniband"))


@pytest.mark.parametrize(("ranks", "dispatch_us", "combine_us"), DEEPEP)
def test_the_all_to_all_is_within_a_tenth_of_what_deepep_publishes(
    ranks: int, dispatch_us: float, combine_us: float
) -> None:
    values, group = 128 * 8 * 7168, over(ranks)
    assert group.all_to_all_s(values * (1 + 4 / 128)) * 1e6 == pytest.approx(dispatch_us, rel=0.1)
    assert group.all_to_all_s(values * 2) * 1e6 == pytest.approx(combine_us, rel=0.1)


def test_inside_a_node_an_all_reduce_is_the_measured_one() -> None:
    assert H100.all_reduce is not None
    for size, seconds in zip(H100.all_reduce.size_bytes, H100.all_reduce.eight_gpus_us, strict=True):
        assert group_of(H100, 8).all_reduce_s(size) == seconds * 1e-6


@pytest.mark.parametrize("name", ["h100-80gb-sxm", "h200-sxm", "a100-80gb-sxm"])
def test_formulas_are_near_what_was_measured_inside_a_node(name: str) -> None:
    """The bandwidth is that of the largest size; the others are predicted: within a third, one-shot to ring."""
    gpu = load_gpu(name)
    for ranks in (2, 4, 8):
        group = group_of(gpu, ranks)
        for size in (2**11, 2**18, 2**22, 2**26):
            best = min(group.all_reduce_s(size, each) for each in group.algorithms)
            assert best == pytest.approx(group.all_reduce_s(size), rel=1 / 3)


def test_small_all_reduces_over_many_nodes_take_the_tree_and_large_ones_the_ring() -> None:
    group = over(128)
    assert group.all_reduce_s(2**12) == group.all_reduce_s(2**12, "tree") < group.all_reduce_s(2**12, "ring")
    assert group.all_reduce_s(2**34) == group.all_reduce_s(2**34, "ring") < group.all_reduce_s(2**34, "tree")


def test_a_large_ring_takes_its_bytes_over_all_ports_of_a_node() -> None:
    group, size = over(16), 2**32
    wire_s = 2 * 15 / 16 * size / (8 * 50e9 * 0.845)
    assert group.all_reduce_s(size, "ring") == pytest.approx(wire_s, rel=0.01)


def test_ports_to_other_nodes_are_busy_while_bytes_cross_and_no_longer() -> None:
    group, size = over(16), 2**32
    assert group.all_reduce_across_s(size) == pytest.approx(2 * 15 / 16 * size / (8 * 50e9 * 0.845))
    assert group.all_reduce_across_s(2**12) < 0.02 * group.all_reduce_s(2**12)  # the rest are steps
    assert over(8).all_reduce_across_s(size) == 0.0
    assert 0 < over(8, 4).all_reduce_across_s(size) < over(8, 4).all_reduce_s(size)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 256), st.sampled_from([1, 2, 4, 8]), st.integers(0, 2**32), st.integers(0, 2**32))
def test_more_bytes_never_take_less_time(ranks: int, per_node: int, size: int, more: int) -> None:
    group = over(ranks, per_node)
    for seconds in (group.all_reduce_s, group.all_gather_s, group.reduce_scatter_s, group.all_to_all_s):
        assert 0 <= seconds(size) <= seconds(size + more)
        assert (seconds(size) == 0) == (ranks == 1)
    assert group.send_s(size, across=True) <= group.send_s(size + more, across=True)
    assert group.send_s(size, across=False) <= group.send_s(size + more, across=False)


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 8), st.integers(0, 2**32))
def test_a_network_never_makes_it_faster(ranks: int, size: int) -> None:
    inside, across = over(ranks), over(ranks, per_node=1)
    assert across.all_to_all_s(size) >= inside.all_to_all_s(size)
    assert across.all_gather_s(size) >= inside.all_gather_s(size)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="16 ranks, 8 a node: expected a link"):
        group_of(H100, 16)
    with pytest.raises(InputError, match="at least one rank"):
        group_of(H100, 0)
    with pytest.raises(InputError, match="no \\[all_reduce\\]"):
        group_of(H100.model_copy(update={"all_reduce": None}), 2)
    with pytest.raises(InputError, match="one-shot: expected ring or tree"):
        over(16).all_reduce_s(1, "one-shot")
