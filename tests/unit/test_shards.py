"""Replicas that need not know of one another, played in several processes: the same to the last bit."""

from multiprocessing import get_all_start_methods

import numpy as np
import pytest

from policies.routing.least_loaded import LeastLoaded
from policies.routing.random import Random
from policies.routing.round_robin import RoundRobin
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cli import main as cli
from simulator.cluster import simulate as engine
from simulator.cluster.deployment import colocated
from simulator.cluster.shards import can_be_split
from simulator.cluster.simulate import assemble, simulate
from simulator.policy import Scheduler
from simulator.replica.limits import Limits
from simulator.replica.request import RequestState
from simulator.workload.workload import Workload

pytestmark = pytest.mark.skipif("fork" not in get_all_start_methods(), reason="needs fork")
LIMITS = Limits(8, 64, 100, 40, 4)


class Cost:
    def step_s(self, shape):
        return 0.01 + 0.001 * shape.prefill_tokens + 1e-5 * shape.decode_context_tokens


@pytest.fixture(autouse=True)
def small_works_are_split_too(monkeypatch):
    monkeypatch.setattr(engine, "WORTH_SPLITTING", 1)


def traffic(n=200, longest=90):
    draw = np.random.default_rng(3)
    prompts = draw.integers(1, 20, n)
    prompts[::17] = longest
    return Workload("made", np.sort(draw.uniform(0, 20, n)), prompts, draw.integers(1, 30, n), 30, "drawn")


def deployment(policy=VllmV1, replicas=3, router=RoundRobin, **more):
    return colocated(policy, Cost(), LIMITS, router(), replicas=replicas, **more)


def same(one, other):
    assert (one.end_s, one.stalled, one.prefix_hits) == (other.end_s, other.stalled, other.prefix_hits)
    for table in ("steps", "tokens", "requests"):
        columns, others = getattr(one.tables, table), getattr(other.tables, table)
        assert list(columns) == list(others)
        for name, column in columns.items():
            assert column.tobytes() == others[name].tobytes(), (table, name)


@pytest.mark.parametrize("router", [RoundRobin, Random])
@pytest.mark.parametrize("horizon_s", [None, 9.0])
@pytest.mark.parametrize("caching", [False, True])
def test_processes_find_what_one_finds(router, horizon_s, caching):
    def policy():
        return VllmV1(enable_prefix_caching=caching)

    work = traffic(longest=200)  # some prompts never fit
    one = simulate(work, deployment(policy, router=router, horizon_s=horizon_s))
    for processes in (2, 3, 9):
        told = []
        split = deployment(policy, router=router, horizon_s=horizon_s)
        other = simulate(
            work, split, processes=processes, on_progress=lambda *now, told=told: told.append(now)
        )
        same(one, other)
        assert told[-1][2] == 200
    assert (one.tables.requests["state"] == RequestState.FAILED).any()


def test_replicas_that_are_looked_at_stay_together():
    assert can_be_split(assemble(traffic(), deployment()))
    assert not can_be_split(assemble(traffic(), deployment(router=LeastLoaded)))
    assert not can_be_split(assemble(traffic(), deployment(replicas=1)))
    same(
        simulate(traffic(), deployment(router=LeastLoaded)),
        simulate(traffic(), deployment(router=LeastLoaded), processes=3),
    )


def test_a_stop_reaches_all_processes():
    n = 60_000
    work = Workload("long", np.arange(n) * 1.0, np.full(n, 4), np.full(n, 2), 2, "made")
    outcome = simulate(work, deployment(), processes=2, should_stop=lambda: True)
    assert outcome.interrupted
    assert len(outcome.tables.requests["state"]) < n


class Fails(Scheduler):
    def plan(self, step):
        raise ZeroDivisionError("a policy's mistake")


class Idles(Scheduler):
    def plan(self, step):
        pass


def test_what_goes_wrong_in_a_process_is_raised_here():
    with pytest.raises(ZeroDivisionError, match="a policy's mistake"):
        simulate(traffic(), deployment(Fails), processes=2)
    stalled = simulate(traffic(), deployment(Idles), processes=2).stalled
    assert "Idles never schedules" in stalled


def test_a_mistake_in_a_policy_of_ones_own_is_named_by_file_and_line(tmp_path, capsys):
    policy = tmp_path / "mine.py"
    policy.write_text(
        "from simulator.policy import Scheduler\n\n\nclass Mine(Scheduler):\n"
        "    def plan(self, step):\n        raise KeyError('oops')\n"
    )
    settings = [f"policy.scheduling={policy}", "cluster.replicas=2", "workload.limit=20"]
    arguments = ["run", "--no-plot", "--jobs", "2", "--out", str(tmp_path / "out")]
    assert cli.main([*arguments, *(f"--set={setting}" for setting in settings)]) == 2
    assert "mine.py: line 6: KeyError: 'oops'" in capsys.readouterr().err
