"""A radix cache whose tree is built at the first retraction serves as one that has it from the start."""

import random

import numpy as np
import pytest

from hardware_profiles import load_engine
from policies.routing.round_robin import RoundRobin
from policies.scheduling.sglang import Sglang
from simulator.cluster import simulate
from simulator.cluster.deployment import colocated
from simulator.replica.engine import Engine
from simulator.replica.limits import Limits
from simulator.workload.workload import Workload

RULES = load_engine("sglang-0.5").engine_rules


class Cost:
    def step_s(self, shape):
        return 0.1 + 0.01 * shape.prefill_tokens + 1e-3 * shape.decode_context_tokens


def served(seed):
    """Tables, what was found, and how many were retracted, of traffic without anything in common in little memory."""
    rng = random.Random(seed)
    n, page = rng.randint(8, 24), rng.choice([1, 2, 4])
    prompts, outputs = ([rng.randint(least, 24) for _ in range(n)] for least in (1, 16))
    arrivals = np.cumsum([rng.choice([0, 0, 1, 4]) for _ in range(n)]) * 1.0
    traffic = Workload("made", arrivals, np.array(prompts), np.array(outputs), 24, "drawn")
    limits = Limits(8, 40, 60, 100 // page + 2, page)
    chunk, mixed, ahead = rng.choice([None, 8]), rng.random() < 0.3, rng.random() < 0.7

    def policy():
        return Sglang(
            schedule_conservativeness=0.01,
            chunked_prefill_size=chunk,
            enable_mixed_chunk=mixed,
            disable_overlap_schedule=not ahead,
        )

    cluster = simulate.assemble(traffic, colocated(policy, Cost(), limits, RoundRobin(), rules=RULES))
    assert simulate.play(cluster) == (False, None)
    tables = simulate.unfold(cluster)[0]
    columns = [(name, each.tobytes()) for name, each in tables.requests.items()]
    columns += [(name, each.tobytes()) for name, each in tables.steps.items()]
    columns += [(name, each.tobytes()) for name, each in tables.tokens.items()]
    engine = cluster.replicas[0].engine
    return columns, simulate.prefix_hits(cluster), engine.free_blocks, int(tables.steps["preemptions"].sum())


def test_it_serves_as_a_tree_from_the_start_does_be_steps_planned_or_not():
    late = [served(seed) for seed in range(24)]
    assert sum(each[-1] > 0 for each in late) > 8
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate, "_stays", lambda deployment: False)
        assert [served(seed) for seed in range(24)] == late
        patch.setattr(Engine, "only_decodes", lambda self, completing: False)
        assert [served(seed) for seed in range(24)] == late
