"""Of a request that has ended nothing is kept but its records: long runs need no more memory than short ones."""

import gc
import types

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from simulator.clock import Clock
from simulator.cluster.cluster import Cluster
from simulator.replica.engine import Engine
from simulator.replica.job import Job, JobState
from simulator.replica.records import STEP_COLUMNS, Records
from simulator.replica.replica import Replica
from simulator.workload.workload import Workload
from tests.cluster_cases import deployments, play
from tests.examples import examples
from tests.laws.test_kv_tiers import tiered
from tests.laws.test_speculation_laws import speculating, speculations
from tests.mixed_cases import mixed_deployments
from tests.unit.test_step_ledger import drafting

# Not walked into: what belongs to all of the program, what is kept for the results, and what others are walked from
OUTSIDE = (type, types.ModuleType, types.CodeType, np.ndarray, Workload, Records, Clock)
LOOKED_UP_LAST = 2  # by a prefix cache, which need not look again


def jobs_held_by(root, *outside):
    """All jobs that an object holds, by way of whatever it holds, but not by way of ``outside`` or a policy."""
    seen, left, found = {id(root)}, [root], []
    while left:
        for each in gc.get_referents(left.pop()):
            inner = each.__closure__ or () if isinstance(each, types.FunctionType) else (each,)
            for one in inner:
                policy = type(one).__module__.startswith("policies.")
                if id(one) not in seen and not policy and not isinstance(one, (*OUTSIDE, *outside)):
                    seen.add(id(one))
                    left.append(one)
                    if isinstance(one, Job):
                        found.append(one)
    return found


def check(traffic, deployment):
    """Play; what has ended before an engine's last step began is not known to it, nor is any to the cluster."""
    cluster, outcome = play(traffic, deployment)
    end_s = outcome.tables.requests["end_s"]
    on_hold = [] if cluster.hand_offs is None else [job for _, job, _ in cluster.hand_offs._held]
    for job in jobs_held_by(cluster, Engine):
        assert job.state is not JobState.ENDED or job in on_hold
    for replica in cluster.replicas:
        engine = replica.engine
        steps = engine.records.steps
        begun_s = steps[-len(STEP_COLUMNS)] if steps else np.inf
        ended = [job for job in jobs_held_by(engine, Cluster, Replica) if job.state is JobState.ENDED]
        assert sum(end_s[job.id] < begun_s for job in ended) <= LOOKED_UP_LAST
        if engine.speculates and deployment.horizon_s is None:
            assert not engine.speculation.answers


@settings(max_examples=examples(15), deadline=None, phases=[Phase.generate])
@given(mixed_deployments())
def test_nor_by_what_chooses_among_unlike_replicas(case):
    check(*case)


class AskAll:
    """Goes where most of a request is cached."""

    def route(self, job, replicas, draw):
        cached = [each.cached_tokens(job) for each in replicas]
        return cached.index(max(cached))


@settings(max_examples=examples(100), deadline=None, phases=[Phase.generate])
@given(deployments(), st.one_of(st.none(), speculations()))
def test_nothing_is_kept_of_a_request_that_has_ended(case, speculation):
    traffic, deployment = case
    if speculation is not None and not deployment.mixed:
        deployment = speculating(deployment, speculation)
    check(traffic, deployment)


@settings(max_examples=examples(25), deadline=None, phases=[Phase.generate])
@given(tiered())
def test_nor_by_tiers_whose_router_asks_all_replicas(case):
    traffic, deployment = case
    check(traffic, deployment._replace(router=AskAll()))


def test_nor_of_drafts_of_an_earlier_step():
    """The first one gets its last four tokens at once, and has ended when the next step does."""
    engine, jobs, completing = drafting(plans_ahead=True, outputs=(5, 20))
    for end_s in (1.0, 2.0):
        before = completing
        engine.open(end_s)
        assert engine.decode_all()
        completing = engine.advance()
        engine.retire(before, end_s)
    assert [job.state is JobState.ENDED for job in jobs] == [True, False]
    engine.retire(completing, 3.0)
    assert jobs_held_by(engine) == jobs[1:]
