"""Every policy keeps its laws where running requests also hold KV that does not grow: windows and states."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.replica.limits import FixedKv, Limits
from simulator.testing import new_engine, new_job
from tests.engine_cases import CHOICES, scenarios
from tests.examples import examples
from tests.laws.test_laws import check

KINDS = st.builds(
    FixedKv,
    st.sampled_from([0.0, 0.4, 3.0]),
    st.sampled_from([(), ((4, 1.0),), ((3, 0.5), (20, 2.0))]),
)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@settings(max_examples=examples(6), deadline=None)
@given(data=st.data(), fixed=KINDS)
def test_laws_hold_with_windows_and_states(choice, data, fixed):
    case = data.draw(scenarios([choice]))
    limits = case["limits"]
    # What an engine's start sees to: the longest request has room for what it holds beside its blocks.
    room = fixed.blocks(limits.max_model_len, limits.block_size)
    more = limits._replace(fixed_kv=fixed, num_gpu_blocks=limits.num_gpu_blocks + room)
    check({**case, "limits": more})


@given(KINDS, st.integers(1, 60), st.integers(0, 60), st.sampled_from([1, 2, 16]))
def test_what_is_held_grows_to_the_window_and_no_further(fixed, tokens, more, block_size):
    short, long = fixed.blocks(tokens, block_size), fixed.blocks(tokens + more, block_size)
    assert short <= long <= fixed.blocks(10**9, block_size)
    window = max((tokens for tokens, _ in fixed.windows), default=0)
    assert fixed.blocks(window + 2 * block_size, block_size) == fixed.blocks(10**9, block_size)


def test_a_request_waits_until_what_it_holds_beside_its_blocks_is_free():
    engine = new_engine(Limits(8, 64, 64, 20, 4, fixed_kv=FixedKv(2.0, ((8, 1.0),))))
    jobs = [new_job(i, 0.0, 16, 1, 4) for i in range(3)]
    for job in jobs:
        engine.submit(job)
    engine.open(0.0)
    # 4 blocks of tokens, 2 of a state, and 3 of a window of 8: the one being filled, and those of 7 tokens before.
    assert [engine.blocks_to_admit(job, 16) for job in jobs] == [9, 9, 9]
    assert [engine.admit(job, 16) for job in jobs] == [True, True, False]
    assert engine.free_blocks == 2
    assert jobs[2].fixed_blocks == 0
    engine.preempt(jobs[1])
    assert engine.free_blocks == 11
    assert engine.admit(jobs[2], 16)
