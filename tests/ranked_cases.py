"""Small runs of policies that serve by a rank."""

from policies.routing.round_robin import RoundRobin
from policies.scheduling.autellix import Autellix
from policies.scheduling.edf import Edf
from policies.scheduling.fastserve import Fastserve
from policies.scheduling.jitserve import JitServe
from policies.scheduling.least_slack import LeastSlack
from policies.scheduling.ltr import Ltr
from policies.scheduling.sjf import Sjf
from policies.scheduling.srpt import Srpt
from policies.scheduling.vtc import Vtc
from simulator.cluster import simulate as simulation
from simulator.cluster.deployment import colocated
from simulator.replica.limits import Limits
from simulator.testing import new_engine, new_job
from simulator.workload.workload import Workload
from tests.engine_cases import EvenCost, native

SECOND = EvenCost(1.0)
RANKED = [Sjf, Srpt, Edf, LeastSlack, Vtc, Fastserve, JitServe, Autellix, Ltr]


def simulate(policy, arrivals, prompts, outputs, limits, cost=SECOND, **columns):
    """One replica, every output predicted rightly."""
    traffic = Workload(
        "test", arrivals, prompts, outputs, max(outputs), "a test", predicted_tokens=outputs, **columns
    )
    return simulation.simulate(
        traffic, colocated(policy, cost, limits, RoundRobin(), rules=native(policy))
    ).tables


def seats(n, budget=1000, blocks=1000):
    return Limits(n, budget, 1000, blocks, 1)


def job(i, arrival_s, prompt, output, **known):
    return new_job(i, arrival_s, prompt, output, 1000, **{"predicted_tokens": output, **known})


def play(policy, jobs, limits, cost=SECOND, look=None):
    """Serve jobs step by step; return the times of each one's tokens. ``look(engine)`` sees every plan."""
    engine = new_engine(limits, queue_key=policy.queue_key(), price=cost.step_s)
    coming = sorted(jobs, key=lambda each: each.arrival_s, reverse=True)
    times = {each.id: [] for each in jobs}
    now_s = 0.0
    while coming or engine.running or engine.waiting or engine.swapped:
        while coming and (
            coming[-1].arrival_s <= now_s or not (engine.running or engine.waiting or engine.swapped)
        ):
            now_s = max(now_s, coming[-1].arrival_s)
            engine.submit(coming.pop())
        engine.open(now_s)
        policy.plan(engine)
        if look is not None:
            look(engine)
        before = {each: each.generated_tokens for each in engine.running}
        completing = engine.advance()
        now_s += cost.step_s(engine.shape)
        engine.retire(completing, now_s)
        for each, tokens in before.items():
            times[each.id] += [now_s] * (each.generated_tokens - tokens)
        assert engine.fruitless_steps < 500
    return times
