"""Steps that are run without asking the policy hand blocks out as planned steps do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import load_engine
from policies.routing.round_robin import RoundRobin
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster.deployment import colocated
from simulator.cluster.simulate import assemble, play, prefix_hits, unfold
from simulator.replica.engine import Engine
from simulator.replica.limits import Limits
from simulator.workload.workload import Workload
from tests.plain_prefix_blocks import kept

RULES = {"0.11.0": load_engine("vllm-0.11").engine_rules, "0.24.0": load_engine("vllm-0.24").engine_rules}


class Cost:
    def step_s(self, shape):
        return 0.1 + 0.01 * shape.prefill_tokens + 1e-3 * shape.decode_context_tokens


@st.composite
def conversations(draw):
    """Requests that begin with one of two texts, or with a whole earlier request and its answer."""
    n = draw(st.integers(2, 12))
    gaps = draw(st.lists(st.integers(0, 8), min_size=n, max_size=n))
    segments, prompts, outputs = [], [], draw(st.lists(st.integers(1, 20), min_size=n, max_size=n))
    for row in range(n):
        earlier = draw(st.integers(-2, row - 1))
        if earlier < 0:
            begin = [(-earlier, draw(st.integers(1, 12)))]
        else:
            begin = [*segments[earlier], (-1 - earlier, outputs[earlier])]
        own = draw(st.integers(1, 6))
        segments.append([*begin, (-1 - row, own)])
        prompts.append(sum(tokens for _, tokens in segments[-1]))
    return Workload(
        "made", np.cumsum(gaps) * 1.0, np.array(prompts), np.array(outputs), 20, "drawn",
        segments=segments, output_stream=-1 - np.arange(n),
    )  # fmt: skip


@given(conversations(), st.booleans(), st.sampled_from(["0.11.0", "0.24.0"]), st.integers(1, 4))
def test_fast_forward_keeps_the_cache_as_planning_does(traffic, asynchronous, version, block_size):
    longest = int((traffic.prompt_tokens + traffic.output_tokens).max())
    blocks = -(-longest // block_size) + 3
    limits = Limits(4, 16, longest + 1, blocks, block_size)

    def served():
        def policy():
            return VllmV1(engine_version=version, async_scheduling=asynchronous, enable_prefix_caching=True)

        cluster = assemble(traffic, colocated(policy, Cost(), limits, RoundRobin(), rules=RULES[version]))
        assert play(cluster) == (False, None)
        return unfold(cluster)[0], prefix_hits(cluster), kept(cluster.replicas[0].engine.cache)

    one = served()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "only_decodes", lambda self, completing: False)
        two = served()
    assert one[1:] == two[1:]
    for table in ("steps", "tokens", "requests"):
        for name, column in getattr(one[0], table).items():
            assert column.tobytes() == getattr(two[0], table)[name].tobytes(), (table, name)
