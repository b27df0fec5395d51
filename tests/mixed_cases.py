"""Random deployments of unlike replicas: models, speeds, limits, schedulers and prices differ from pool to pool."""

import dataclasses

import numpy as np
from hypothesis import strategies as st

from policies.routing.cascade import Cascade
from simulator.cluster.grading import Grading
from simulator.replica.offer import Offer
from tests.cluster_cases import deployments
from tests.engine_cases import CHOICES, RaggedCost, native, scenarios

MODES = ("plain", "tight", "faults", "abandonment", "sessions", "scaling", "cascade")
MODELS = ("small", "medium", "large")


class Scaled:
    """Steps of another cost, so many times as long."""

    def __init__(self, cost, factor):
        self.cost, self.factor = cost, factor

    def step_s(self, shape):
        return self.factor * self.cost.step_s(shape)


def _shared(draw, pools):
    """GPUs that the pools which are scaled share: enough for one replica more than the least, and for the start."""
    scaled = [pool for pool in pools if pool.scaling is not None]
    if not scaled or draw(st.booleans()):
        return None
    needed = max(
        sum(
            max(1, pool.scaling.min_replicas) * pool.scaling.gpus
            for pool in scaled
            if pool is last or pool.scaling.min_replicas
        )
        for last in scaled
    )
    return max(needed, sum(pool.replicas * pool.scaling.gpus for pool in scaled)) + draw(st.integers(0, 3))


@st.composite
def mixed_deployments(draw, choices=tuple(CHOICES), modes=MODES):
    """A workload whose requests may ask for a model, and a deployment of two to four unlike pools."""
    cascade = "cascade" in modes and (len(modes) == 1 or draw(st.booleans()))
    kinds = [mode for mode in MODES[:-1] if mode != "abandonment"] if cascade else modes
    traffic, deployment = draw(deployments(choices, [mode for mode in kinds if mode != "cascade"]))
    pool, n = deployment.pools[0], len(traffic.arrival_s)
    pools = []
    for place in range(draw(st.integers(2, 4))):
        scheduler = draw(scenarios(choices))["policy"] if draw(st.booleans()) else pool.scheduler
        twice = draw(st.sampled_from([1, 2]))  # as many blocks: a sequence is never longer than they hold
        longest = draw(st.integers(1, twice)) * pool.limits.max_model_len
        limits = pool.limits._replace(
            max_model_len=longest,
            num_gpu_blocks=twice * pool.limits.num_gpu_blocks,
            max_num_batched_tokens=max(pool.limits.max_num_batched_tokens, longest),
        )
        price, quality = draw(st.sampled_from([1.0, 4.0])), draw(st.sampled_from([0.3, 0.8]))
        scaling = pool.scaling
        if scaling is not None:
            least = draw(st.integers(0, scaling.min_replicas))
            scaling = scaling._replace(min_replicas=least, gpus=draw(st.sampled_from([1, 2, 4])))
        pools.append(
            pool._replace(
                replicas=pool.replicas
                if scaling is None
                else draw(st.integers(scaling.min_replicas, pool.replicas)),
                scaling=scaling,
                scheduler=scheduler,
                cost=Scaled(RaggedCost(), draw(st.sampled_from([0.5, 1.0, 3.0]))),
                limits=limits,
                rules=native(scheduler),
                offer=Offer(f"pool{place}", draw(st.sampled_from(MODELS[: place + 1])), price, quality),
            )
        )
    models = sorted({each.offer.model for each in pools})
    asked = draw(st.lists(st.integers(-1, len(models) - 1), min_size=n, max_size=n))
    columns = {**traffic.optional, "model": np.array(asked, np.int64)}
    traffic = dataclasses.replace(traffic, optional=columns, model_names=models)
    events = [each for each in deployment.faults.events if each.replica < sum(pool.places for pool in pools)]
    faults = deployment.faults._replace(events=events)
    shared = {"migration": None, "max_gpus": _shared(draw, pools)}  # KV caches are unlike
    deployment = deployment._replace(pools=pools, faults=faults, **shared)
    if cascade:
        draws = np.random.default_rng(draw(st.integers(0, 2**20)))
        shape = n, len(pools)
        grading = Grading(draws.random(shape) < 0.5, draws.random(shape), draws.random(len(pools)))
        router = Cascade(draw(st.sampled_from([0.0, 0.4])), draw(st.sampled_from([0, 1, 2])))
        deployment = deployment._replace(router=router, grading=grading)
    return traffic, deployment
