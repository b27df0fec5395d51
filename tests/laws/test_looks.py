"""What is seen of a replica at a moment is what its records say in the end."""

import itertools

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from simulator.cluster import simulate as engine
from simulator.cluster.cluster import Cluster
from simulator.replica.replica import Replica
from tests.cluster_cases import deployments
from tests.engine_cases import RaggedCost
from tests.examples import examples
from tests.laws.test_speculation_laws import speculating, speculations

# Whichever is asked first brings the replica up to now
ASKED = (
    lambda replica, job: replica.outstanding_tokens,
    lambda replica, job: replica.outstanding_requests,
    lambda replica, job: replica.waiting_requests,
    lambda replica, job: list(replica.waiting),
    lambda replica, job: list(replica.running),
    lambda replica, job: replica.free_blocks,
    lambda replica, job: replica.asleep,
    lambda replica, job: replica.last_step_s,
    lambda replica, job: len(replica.records.steps),
    lambda replica, job: replica.engine.step,
    lambda replica, job: replica.cached_tokens(job),
    lambda replica, job: replica.predicted_ttft_s(job),
    lambda replica, job: replica.predicted_tbt_s(job),
    lambda replica, job: replica.undelivered_tokens(job),
    lambda replica, job: replica.promises(job),
)
MODES = ("plain", "tight", "migration", "abandonment", "disaggregated")


def outstanding_tokens(replica, kv_transfers):
    """The known tokens of all jobs that are here, or on their way."""
    engine = replica.engine
    here = (*engine.waiting, *engine.running, *engine.swapped, *engine.transfers.received)
    come = [each.job for each in kv_transfers.in_flight.values() if each.destination is replica]
    return sum(job.known_tokens for job in here if not job.completing) + sum(job.known_tokens for job in come)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=examples(20), deadline=None, phases=[Phase.generate])
@given(data=st.data(), seed=st.integers(0, len(ASKED) - 1))
def test_tokens_in_flight_and_the_last_step_are_those_of_the_records(mode, data, seed):
    traffic, deployment = data.draw(deployments(modes=(mode,)))
    speculation = data.draw(st.one_of(st.none(), speculations()))
    if speculation is not None:
        deployment = speculating(deployment, speculation)
    seen, ragged = [], isinstance(deployment.pools[0].cost, RaggedCost)

    looks, jobs, submit = itertools.count(seed), [], Replica.submit

    def noting(replica, job):
        jobs.append(job)
        submit(replica, job)

    def look(_):
        ask = ASKED[next(looks) % len(ASKED)]
        for replica in cluster.replicas:
            if jobs:
                asked = ask(replica, jobs[-1])
                replica.catch_up()
                assert ask(replica, jobs[-1]) == asked
            rule = deployment.hand_off
            if mode == "disaggregated" and not rule.early:  # those sent early grow on their way
                assert replica.outstanding_tokens == outstanding_tokens(replica, cluster.kv_transfers)
            last_step_s = replica.last_step_s
            planned = replica._engine.step
            leave = {
                *replica._engine.dropped,
                *(job for job, _ in replica._engine._leaving),
            }  # who get no token
            here = [
                (job.id, job.generated_tokens - replica.undelivered_tokens(job))
                for job in (*replica.running, *replica.waiting)
                if job not in leave
            ]
            seen.append((cluster.clock.now, replica.index, planned, last_step_s, here))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cluster, "open_loop", False)
        patch.setattr(Replica, "submit", noting)
        cluster = engine.assemble(traffic, deployment)
        for nth, arrival_s in enumerate(traffic.arrival_s[:15].tolist()):  # at no step's end
            late_s = (0.013 if ragged else 0.37) * (1 + nth % 4) + 1.234567e-5
            cluster.clock.at(arrival_s + late_s).callbacks.append(look)
        engine.play(cluster)
        tables, _ = engine.unfold(cluster)
    steps, tokens = tables.steps, tables.tokens
    until_s = deployment.horizon_s or np.inf
    for now_s, index, planned, last_step_s, here in seen:
        mine = steps["replica"] == index
        if 0 < planned <= mine.sum():  # of those in flight at the horizon there are no records
            lasted_s = (steps["end_s"] - steps["start_s"])[mine][planned - 1]
            assert last_step_s == pytest.approx(lasted_s, abs=1e-12)
        assert planned or not last_step_s
        if now_s < until_s:
            by_now = tokens["request_id"][tokens["generated_s"] <= now_s]
            delivered = np.bincount(by_now, minlength=len(traffic.arrival_s))
            assert here == [(job, delivered[job]) for job, _ in here]
